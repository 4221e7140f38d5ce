// A data plane that dies is replaced within a second: sessions, addresses, DTLS associations and translations stay, and a stock
// client notices nothing but a pause.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { die, logOf, startFailingGateway, statsOf } from '../lab/failing-gateway.ts'
import { Lab } from '../lab/lab.ts'
import { corporateAddress } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import {
  download,
  longestGap,
  nextAnswer,
  ping,
  reach,
  readPing,
  startFileServer,
  startPing,
  upload,
} from '../lab/traffic.ts'

const megabyte = 1024 * 1024

needs(
  'root',
  'tun',
  'ip',
  'openssl',
  'openconnect',
  'ping',
  'nft',
)('the data plane of a gateway', () => {
  describe.each(['kernel', 'translate'] as const)('with the way out %s', mode => {
    let lab: Lab
    let gateway: LabProcess
    let client: LabProcess

    beforeAll(async () => {
      lab = await Lab.open()
      const config = await lab.configure({
        config: { egress: { mode }, session: { dpdSeconds: 30 }, dataPlane: { driver: 'worker' } },
      })
      gateway = await startFailingGateway(lab.network, config)
      expect((await statsOf(gateway)).dataPlane.driver).toBe('worker')
      await startFileServer(lab.network)
      client = await connectOpenconnect(lab.network, lab.alice)
      await reach(lab.network, corporateAddress)
    })
    afterAll(async () => {
      await lab?.close()
    })

    test.each([
      ['exit', 'down', download],
      ['throw', 'up', upload],
      ['hang', 'down', download],
    ] as const)(
      'can %s: it is replaced, and pings and a transfer %s go on over the same association',
      async (way, _, transfer) => {
        const mark = client.mark
        const addresses = tunnelAddresses(client)
        const pinging = startPing(lab.network, corporateAddress, 0.02)
        await nextAnswer(pinging)
        const running = transfer(lab.network, 200 * megabyte)
        const milliseconds = await die(gateway, way, 50 * megabyte)
        await nextAnswer(pinging)
        const gap = longestGap(pinging)
        await readPing(pinging)
        console.log(`${mode}, ${way}: replaced after ${milliseconds} ms, gap of ${gap.toFixed(0)} ms`)
        const { bytes, here, there } = await running
        expect(bytes).toBe(200 * megabyte)
        expect(here).toBe(there)
        expect(client.output.slice(mark)).not.toMatch(/Established|handshake|reconnect|dead peer|rekey/i)
        expect(tunnelAddresses(client)).toEqual(addresses)
        const reason = { exit: /has ended with code 1/, throw: /is not iterable/, hang: /is in an endless loop/ }[way]
        const { dataPlane } = await statsOf(gateway)
        expect(dataPlane.lastRestart?.reason).toMatch(reason)
        const death = logOf(gateway).findLast(({ msg }) => msg === 'the data plane died and is started anew')
        expect(death).toMatchObject({ level: 'error', reason: dataPlane.lastRestart?.reason })
        expect(death).toMatchObject({ restarts: dataPlane.restarts, sessionsKept: 1, associationsKept: 1 })
        expect(typeof death?.stack).toBe(way === 'throw' ? 'string' : 'undefined')
        const again = logOf(gateway).findLast(({ msg }) => msg === 'the data plane is at work again')
        expect(again?.flowsDropped).toBe(mode === 'translate' ? 0 : undefined)
        // At least those of the ping and of the transfer.
        if (mode === 'translate') expect(again?.flowsKept).toBeGreaterThanOrEqual(2)
      },
    )

    test('sessions can be opened, used and ended afterwards', async () => {
      await endOpenconnect(client)
      client = await connectOpenconnect(lab.network, lab.alice)
      await reach(lab.network, corporateAddress)
      expect(await ping(lab.network, corporateAddress)).toMatchObject({ received: 3 })
    })

    if (mode === 'translate') {
      test('one that dies again and again ends the gateway, which says why', async () => {
        const since = gateway.mark
        const over = gateway.waitFor(/its data plane is lost|again and again/, { since })
        const deaths = setInterval(() => gateway.write('throw\n'), 300)
        await over.finally(() => clearInterval(deaths))
        expect(gateway.output.slice(since)).toMatch(/dies again and again, 6 times within 30 s; the last time: /)
        const [last] = logOf(gateway).filter(({ msg }) => msg === 'the data plane died and is given up')
        expect(last).toMatchObject({ level: 'error', reason: expect.stringMatching(/is not iterable/) })
        expect(last?.restarts).toBeGreaterThanOrEqual(5)
        expect(last?.stack).toMatch(/permits/)
        await gateway.waitFor(/gateway stopped/, { since })
      })
      return
    }

    test('an interface that is deleted ends the gateway, and says why', async () => {
      const since = gateway.mark
      const links = await lab.network.mustRun('gateway', 'ip', ['-o', 'link', 'show', 'type', 'tun'])
      await lab.network.mustRun('gateway', 'ip', ['link', 'delete', /: (tb\d+)/.exec(links)![1]!])
      await gateway.waitFor(/the gateway stops: its device is lost/, { since })
      expect(gateway.output.slice(since)).not.toMatch(/started anew/)
      await gateway.waitFor(/gateway stopped/, { since })
    })
  })
})
