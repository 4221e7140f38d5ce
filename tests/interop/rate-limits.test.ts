// A stock client whose session has rates: TCP fills them in both directions, and a reload changes them without a cut.
import { afterAll, beforeAll, expect, test } from 'vitest'
import { Lab } from '../lab/lab.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect } from '../lab/openconnect.ts'
import { startIperfServer, stream } from '../lab/traffic.ts'
import { startGateway } from '../lab/twinbore.ts'

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'iperf3',
)('a session with rates', () => {
  let lab: Lab
  let gateway: LabProcess
  let client: LabProcess

  const configure = (upload: string, download: string): Promise<string> =>
    lab.configure({ config: { session: { rate: { upload, download } } } })

  beforeAll(async () => {
    lab = await Lab.open()
    await startIperfServer(lab.network)
    gateway = await startGateway(lab.network, await configure('20 Mbit/s', '40 Mbit/s'))
    client = await connectOpenconnect(lab.network, lab.alice)
  })
  afterAll(async () => {
    if (client) await endOpenconnect(client)
    await lab?.close()
  })

  test.each([
    ['at first', '20 Mbit/s', '40 Mbit/s', 20e6, 40e6],
    ['after a reload', '50 Mbit/s', '10 Mbit/s', 50e6, 10e6],
  ])(
    '%s TCP gets 85 %% of a rate at least, and no more than it and a burst',
    { timeout: 120_000, retry: 2 },
    async (...words) => {
      const [, upload, download, most, mostDown] = words
      const since = gateway.mark
      await configure(upload, download)
      gateway.kill('SIGHUP')
      await gateway.waitFor(/reloaded/, { since })
      const seconds = 5
      for (const [direction, limit] of [
        ['up', most],
        ['down', mostDown],
      ] as const) {
        const { bitsPerSecond } = await stream(lab.network, direction, { seconds })
        console.log(`${direction}: ${(bitsPerSecond / 1e6).toFixed(1)} of ${limit / 1e6} Mbit/s`)
        expect(bitsPerSecond).toBeGreaterThan(limit * 0.85)
        // The burst is that of 200 ms.
        expect(bitsPerSecond).toBeLessThan(limit * (1 + 0.2 / seconds) * 1.05)
      }
      expect(client.output).not.toMatch(/reconnect/i)
    },
  )
})
