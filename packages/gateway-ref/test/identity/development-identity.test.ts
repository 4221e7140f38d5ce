import { createHash, X509Certificate } from 'node:crypto'
import { mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { ensureDevelopmentClient, ensureDevelopmentIdentity } from '../../src/identity/io/development-identity.ts'
import { isSpkiPin, spkiPin } from '../../src/identity/io/spki-pin.ts'

const day = 24 * 3600 * 1000
const now = Date.UTC(2030, 0, 1)

let parent: string
let directory: string
beforeEach(async () => {
  parent = await mkdtemp(join(tmpdir(), 'twinbore-identity-'))
  directory = join(parent, '.twinbore')
})
afterEach(() => rm(parent, { recursive: true }))

describe('a development identity', () => {
  test('is made once and found again, with keys for the owner only', async () => {
    const first = await ensureDevelopmentIdentity({ directory, now })
    expect(first.created).toBe(true)
    expect((await stat(directory)).mode & 0o777).toBe(0o700)
    for (const file of [first.key, join(directory, 'ca.key')]) expect((await stat(file)).mode & 0o777).toBe(0o600)
    const second = await ensureDevelopmentIdentity({ directory, now: now + 300 * day })
    expect(second).toEqual({ ...first, created: false })
  })

  test('names this host, and what it is asked to', async () => {
    const { certificate } = await ensureDevelopmentIdentity({ directory, now, names: ['vpn.example', '192.0.2.9'] })
    const own = await read(certificate)
    for (const name of ['localhost', 'vpn.example']) expect(own.checkHost(name)).toBe(name)
    for (const address of ['127.0.0.1', '::1', '192.0.2.9']) expect(own.checkIP(address)).toBe(address)
    expect(own.checkHost('other.example')).toBeUndefined()

    const again = await ensureDevelopmentIdentity({ directory, now, names: ['vpn.example'] })
    expect(again.created).toBe(false)
    const more = await ensureDevelopmentIdentity({ directory, now, names: ['other.example'] })
    expect(more.created).toBe(true)
    expect((await read(certificate)).checkHost('other.example')).toBe('other.example')
  })

  test('is renewed when little of its time is left, by the same authority', async () => {
    const first = await ensureDevelopmentIdentity({ directory, now })
    const authority = await readFile(first.authority, 'utf8')
    const second = await ensureDevelopmentIdentity({ directory, now: now + 380 * day })
    expect(second.created).toBe(true)
    expect(second.pin).not.toBe(first.pin)
    expect(await readFile(second.authority, 'utf8')).toBe(authority)
    expect(Date.parse((await read(second.certificate)).validTo)).toBeGreaterThan(now + 700 * day)
  })

  test('gets a new authority before the old one ends, and everything below it anew', async () => {
    const first = await ensureDevelopmentIdentity({ directory, now })
    const authority = await readFile(first.authority, 'utf8')
    const second = await ensureDevelopmentIdentity({ directory, now: now + 3500 * day })
    expect(second.created).toBe(true)
    expect(await readFile(second.authority, 'utf8')).not.toBe(authority)
    const issuer = await read(second.authority)
    expect((await read(second.certificate)).verify(issuer.publicKey)).toBe(true)
  })

  test.each(['gateway.key', 'gateway.crt', 'ca.crt'])('is made anew when %s is damaged', async name => {
    const first = await ensureDevelopmentIdentity({ directory, now })
    await writeFile(join(directory, name), 'damaged')
    const second = await ensureDevelopmentIdentity({ directory, now })
    expect(second.created).toBe(true)
    expect(second.pin).not.toBe(first.pin)
    const issuer = await read(second.authority)
    expect((await read(second.certificate)).verify(issuer.publicKey)).toBe(true)
  })

  test('has a certificate for a user as well', async () => {
    const { authority } = await ensureDevelopmentIdentity({ directory, now })
    const files = await ensureDevelopmentClient({ directory, user: 'anna', email: 'anna@corp.example', now })
    const client = await read(files.certificate)
    expect(client.subject).toBe('CN=anna')
    expect(client.subjectAltName).toBe('email:anna@corp.example')
    expect(client.verify((await read(authority)).publicKey)).toBe(true)
    expect((await stat(files.key)).mode & 0o777).toBe(0o600)
    expect(await ensureDevelopmentClient({ directory, user: 'anna', now })).toEqual(files)
    expect((await read(files.certificate)).serialNumber).toBe(client.serialNumber)
  })
})

test('a pin is the SHA-256 of the public key, in base64', async () => {
  const { certificate, pin } = await ensureDevelopmentIdentity({ directory, now })
  const own = await read(certificate)
  const der = own.publicKey.export({ type: 'spki', format: 'der' })
  expect(pin).toBe(`pin-sha256:${createHash('sha256').update(der).digest('base64')}`)
  expect(spkiPin(own)).toBe(pin)
  expect(isSpkiPin(pin)).toBe(true)
  for (const text of ['', 'pin-sha256:', pin.slice(0, -1), `${pin}=`, pin.replace('sha256', 'sha1')]) {
    expect(isSpkiPin(text)).toBe(false)
  }
})

async function read(file: string): Promise<X509Certificate> {
  return new X509Certificate(await readFile(file))
}
