import { copyFile, mkdir, mkdtemp, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { ensureDevelopmentIdentity } from '../../src/identity/io/development-identity.ts'
import { issueAuthority, issueCertificate } from '../../src/identity/io/issue-certificate.ts'

const day = 24 * 3600 * 1000

/** A folder with everything that a configuration can point to: right files and wrong ones. */
export async function makeGatewayFiles(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'twinbore-test-'))
  const { certificate, key } = await ensureDevelopmentIdentity({ directory: join(folder, 'identity') })
  const copies = { 'site.crt': certificate, 'site.key': key, 'ca.crt': join(folder, 'identity', 'ca.crt') }
  for (const [name, from] of Object.entries(copies)) await copyFile(from, join(folder, name))

  const now = Date.now()
  const authority = await issueAuthority({
    commonName: 'old authority',
    notBefore: new Date(now - 900 * day),
    notAfter: new Date(now + 900 * day),
  })
  const dated = (from: number, to: number) =>
    issueCertificate(authority, {
      usage: 'server',
      commonName: 'dated',
      names: ['localhost'],
      notBefore: new Date(now + from * day),
      notAfter: new Date(now + to * day),
    })
  const files = { old: await dated(-400, -2), future: await dated(3, 400), ending: await dated(-300, 5) }
  for (const [name, pair] of Object.entries(files)) {
    await writeFile(join(folder, `${name}.crt`), pair.certificate)
    await writeFile(join(folder, `${name}.key`), pair.key, { mode: 0o600 })
  }
  await writeFile(join(folder, 'users.yaml'), '', { mode: 0o600 })
  await writeFile(join(folder, 'not-a.crt'), 'hello\n')
  await mkdir(join(folder, 'folder'))
  return folder
}
