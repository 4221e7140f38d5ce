import { rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { doctorCommand } from '../../src/cli/io/doctor-command.ts'
import { makeGatewayFiles } from '../config/gateway-files.ts'
import { TestContext } from './run-main.ts'

let folder: string
beforeAll(async () => {
  folder = await makeGatewayFiles()
})
afterAll(() => rm(folder, { recursive: true }))

test('says one line for each thing and is content without a configuration', async () => {
  const context = new TestContext({})
  await doctorCommand({}, context)
  for (const line of context.out.trimEnd().split('\n')) expect(line).toMatch(/^(ok|less) {4,6}\S/)
  expect(context.out).toMatch(/DTLS records/)
  expect(context.out).toMatch(/data plane {4}driver/)
})

test('finds a port that is in use, and fails', async () => {
  const server = createServer()
  await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  const config = join(folder, 'doctor.yaml')
  await writeFile(
    config,
    `listen: { address: 127.0.0.1, port: ${port} }
tls: { certificate: site.crt, key: site.key }
pool: { ipv4: 192.168.77.0/24 }
auth: { clientCa: ca.crt }
`,
  )
  const context = new TestContext({})
  await expect(doctorCommand({ config }, context)).rejects.toThrow(`TCP ${port}`)
  expect(context.out).toMatch(new RegExp(`missing {1}TCP ${port}.*EADDRINUSE`))
  await new Promise(resolve => server.close(resolve))
})
