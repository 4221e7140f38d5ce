// The stock client through the kernel's own translator: super-packets leave for its masquerade and come back from it.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Lab } from '../lab/lab.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { crossings, startFileServer } from '../lab/traffic.ts'
import { startGateway } from '../lab/twinbore.ts'

const fileBytes = 50_000_000

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
)('openconnect and the kernel as translator', () => {
  let lab: Lab
  let client: LabProcess

  beforeAll(async () => {
    lab = await Lab.open()
    await startFileServer(lab.network)
    await startGateway(lab.network, await lab.configure({ config: { egress: { mode: 'kernel' } } }))
    client = await connectOpenconnect(lab.network, lab.alice)
  })
  afterAll(async () => {
    if (client) await endOpenconnect(client)
    await lab?.close()
  })

  test.each(crossings)(
    '50 MB go %s over %s with equal SHA-256, from the gateway’s own address',
    async (_, __, move, to, source) => {
      const result = await move(lab.network, fileBytes, to)
      expect(result).toMatchObject({ bytes: fileBytes, here: result.there, peer: source })
    },
  )
})
