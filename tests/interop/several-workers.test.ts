// A data plane of two workers: whichever of them a client's datagrams and the answers from outside arrive at, packets come out
// right; flows outlive an association that comes up elsewhere, and the other worker's death.
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { startFailingGateway, statsOf, type ToldStats } from '../lab/failing-gateway.ts'
import { corporateAddress, gatewayAddress, gatewayInsideAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import { PortRewriter } from '../lab/port-rewriter.ts'
import { download, ping, reach, startFileServer, startPing, upload } from '../lab/traffic.ts'
import { configureGateway, pool, pool6, port, startClient } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const failingGateway = fileURLToPath(new URL('../lab/failing-gateway.mjs', import.meta.url))
/** Ports that a client may come to have: that all of them are one worker's happens once in 16 million times. */
const outsidePorts = Array.from({ length: 24 }, (_, n) => 20_001 + 7 * n)
const megabyte = 1024 * 1024
const clientCount = 4

interface Client {
  readonly process: LabProcess
  readonly address: string
}

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'ss',
  'openssl',
  'openconnect',
  'ping',
)('two workers', () => {
  describe.each(['translate', 'kernel'] as const)('with the way out %s', mode => {
    let network: LabNetwork
    let workspace: Workspace
    let certificates: LabCertificates
    let gateway: LabProcess
    const clients: Client[] = []

    beforeAll(async () => {
      workspace = new Workspace()
      network = await LabNetwork.create()
      certificates = await makeCertificates(workspace)
      const config = await configureGateway(workspace, {
        certificates,
        config: {
          egress: { mode },
          session: { dpdSeconds: 30 },
          dataPlane: { driver: 'worker', workers: 2 },
        },
      })
      gateway = network.start('gateway', process.execPath, [failingGateway, config], { keepInputOpen: true })
      await gateway.waitFor(/ready worker/)
      await startFileServer(network)
      // Counts every packet by where it claims to come from; a capture could not keep pace.
      await network.mustRun('corporate', 'nft', ['-f', '-'], {
        input: `table inet seen {
          counter pool {}
          counter gateway {}
          chain arrivals {
            type filter hook prerouting priority -300
            ip saddr ${pool} counter name pool
            ip6 saddr ${pool6} counter name pool
            ip saddr ${gatewayInsideAddress} counter name gateway
          }
        }`,
      })
      // The kernel spreads clients by their ports: more come until each worker has one.
      while (clients.length < clientCount || (clients.length < 16 && (await askPlaces()).owners.includes(0))) {
        clients.push(await connectOne(clients.length))
      }
    })
    afterAll(async () => {
      await network?.close()
      workspace?.remove()
    })

    async function connectOne(n: number): Promise<Client> {
      const device = `vpn${n}`
      const server = { url: `https://${gatewayAddress}`, serverPin: certificates.gatewayPin }
      const process = await connectOpenconnect(network, { ...server, user: 'alice', passwords: ['secret'], device })
      const [address] = tunnelAddresses(process)
      // All of them have the same routes: what comes from an address takes its own tunnel.
      await network.mustRun('client', 'ip', ['rule', 'add', 'from', address!, 'lookup', `${100 + n}`])
      await network.mustRun('client', 'ip', ['route', 'add', '10.2.0.0/24', 'dev', device, 'table', `${100 + n}`])
      return { process, address: address! }
    }

    /** How many associations each worker has, and how many sessions are away from their translations. */
    async function askPlaces(): Promise<{ readonly owners: readonly number[]; readonly away: number }> {
      const since = gateway.mark
      gateway.write('places\n')
      const [, json] = await gateway.waitFor(/places (\{.*\})\n/, { since })
      return JSON.parse(json!)
    }

    async function die(way: 'throw' | 'exit' | 'hang', afterBytes: number, worker: number): Promise<void> {
      const since = gateway.mark
      gateway.write(`${way} ${afterBytes} ${worker}\n`)
      await gateway.waitFor(/replaced after (\d+) ms/, { since })
    }

    async function expectEqual(transfers: readonly ReturnType<typeof download>[], bytes: number): Promise<void> {
      for (const result of await Promise.all(transfers)) expect(result).toMatchObject({ bytes, here: result.there })
    }

    test('both have clients', async () => {
      const counts = (await askPlaces()).owners
      console.log(`${mode}: associations ${counts.join(' and ')}`)
      expect(Math.min(...counts)).toBeGreaterThan(0)
    })

    test('carry files of all clients at once, both ways, with equal SHA-256, and pings meanwhile', async () => {
      const bytes = 20 * megabyte
      const transfers = clients.flatMap(({ address }) => [
        download(network, bytes, corporateAddress, address),
        upload(network, bytes, corporateAddress, address),
      ])
      const pings = clients.map(({ address }) => ping(network, corporateAddress, { from: address, count: 5 }))
      // Full queues may drop some, at the clients' own interfaces too.
      for (const answer of await Promise.all(pings)) expect(answer.received).toBeGreaterThanOrEqual(2)
      await expectEqual(transfers, bytes)
    })

    test('carry fragments both ways', async () => {
      for (const { address } of clients) {
        // ping itself does not wait for the last answer for longer than 0.2 s.
        const { received } = await ping(network, corporateAddress, { from: address, sizeBytes: 4000, count: 5 })
        expect(received).toBeGreaterThanOrEqual(4)
      }
    })

    test('flows go on when their clients reconnect, and the translator of one is elsewhere then', async () => {
      const marks = clients.map(({ process }) => process.mark)
      const bytes = 60 * megabyte
      const transfers = clients.map(({ address }) => download(network, bytes, corporateAddress, address))
      let away = 0
      // By chance, one time in sixteen nobody changes place.
      for (let cut = 0; cut < (mode === 'kernel' ? 1 : 8) && away === 0; cut++) {
        await network.cutTcp(port)
        for (const [n, { process }] of clients.entries()) {
          await process.waitFor(/Established DTLS connection/, { since: marks[n]!, timeoutMs: 60_000 })
          marks[n] = process.mark
        }
        away = (await askPlaces()).away
      }
      await expectEqual(transfers, bytes)
      // Again, whatever was over when the last one had changed place.
      await expectEqual(
        clients.flatMap(({ address }) => [
          download(network, 5 * megabyte, corporateAddress, address),
          upload(network, 5 * megabyte, corporateAddress, address),
        ]),
        5 * megabyte,
      )
      console.log(`${mode}: ${away} of ${clients.length} are away from home`)
      expect(away > 0).toBe(mode === 'translate')
      expect(clients.map(({ process }) => tunnelAddresses(process)[0])).toEqual(clients.map(({ address }) => address))
    })

    test.each(['exit', 'throw', 'hang'] as const)('one can %s: it is replaced, and no session is lost', async way => {
      const marks = clients.map(({ process }) => process.mark)
      await die(way, 0, 1)
      for (const { address } of clients) {
        const { received } = await ping(network, corporateAddress, { from: address, count: 5 })
        expect(received).toBeGreaterThanOrEqual(4)
      }
      for (const [n, { process }] of clients.entries()) {
        expect(process.output.slice(marks[n]!)).not.toMatch(/Established|handshake|reconnect|dead peer|rekey/i)
      }
      const bytes = 5 * megabyte
      await expectEqual(
        clients.flatMap(({ address }) => [
          download(network, bytes, corporateAddress, address),
          upload(network, bytes, corporateAddress, address),
        ]),
        bytes,
      )
    })

    test.each([
      ['exit', 0],
      ['throw', 1],
      ['hang', 0],
    ] as const)('transfers go on through a death (%s of %d)', async (way, worker) => {
      const bytes = 50 * megabyte
      const transfers = clients.map(({ address }) => download(network, bytes, corporateAddress, address))
      await die(way, 10 * megabyte, worker)
      await expectEqual(transfers, bytes)
    })

    test('no packet has left with an address of the pool', async () => {
      const counters = await network.mustRun('corporate', 'nft', ['list', 'counters', 'table', 'inet', 'seen'])
      const seen = (name: string) => Number(new RegExp(`counter ${name} \\{\\s*packets (\\d+)`).exec(counters)![1])
      expect(seen('gateway')).toBeGreaterThan(10_000)
      expect(seen('pool')).toBe(0)
    })
  })

  describe('and a client of ours whose port changes', () => {
    let network: LabNetwork
    let workspace: Workspace
    let gateway: LabProcess
    let client: LabProcess
    let rewriter: PortRewriter
    let mark: number

    beforeAll(async () => {
      workspace = new Workspace()
      network = await LabNetwork.create()
      const certificates = await makeCertificates(workspace)
      const config = await configureGateway(workspace, {
        certificates,
        config: {
          egress: { mode: 'translate' },
          // Transfers last long enough to roam meanwhile, however fast the machine is.
          session: { dpdSeconds: 30, rate: { upload: '40 Mbit/s', download: '40 Mbit/s' } },
          dataPlane: { driver: 'worker', workers: 2 },
        },
      })
      gateway = await startFailingGateway(network, config)
      await startFileServer(network)
      const url = `https://${gatewayAddress}`
      client = startClient(network, { url, user: 'alice', password: 'secret', serverPin: certificates.gatewayPin })
      await client.waitFor(/datagram channel established/)
      await client.waitFor(/data goes by the datagram channel/)
      await reach(network, corporateAddress)
      rewriter = await PortRewriter.open(network, port)
      mark = client.mark
    })
    afterAll(async () => {
      await network?.close()
      workspace?.remove()
    })

    /** Has the client come from port after port, while it speaks all the time, until something is so. */
    async function roamUntil(isEnough: (before: ToldStats, now: ToldStats) => boolean): Promise<void> {
      const pings = startPing(network, corporateAddress)
      for (let outside = outsidePorts.shift(); outside !== undefined; outside = outsidePorts.shift()) {
        const before = await statsOf(gateway)
        await rewriter.use(outside)
        let now = before
        while (now.datagram!['endpoint-changes'] === before.datagram!['endpoint-changes']) {
          await pause()
          now = await statsOf(gateway)
        }
        if (!isEnough(before, now)) continue
        await pings.stop('SIGINT')
        return
      }
      throw new Error('all ports are of one worker')
    }
    const pause = () => new Promise(resolve => setTimeout(resolve, 20))
    const isElsewhere = (before: ToldStats, now: ToldStats) => now.roaming!.adopted > before.roaming!.adopted
    const isAtHome = (before: ToldStats, now: ToldStats) => !isElsewhere(before, now)

    async function expectSameAssociation(): Promise<void> {
      expect((await statsOf(gateway)).datagram!['handshakes-completed']).toBe(1)
      expect((await statsOf(gateway)).sessions).toBe(1)
      expect(client.output.slice(mark)).not.toMatch(/established|renewed|lost/)
    }

    test.each([
      ['up', upload],
      ['down', download],
    ] as const)('a transfer goes on when it comes to arrive at the other worker: %s', async (_, move) => {
      const bytes = 60 * megabyte
      const before = await statsOf(gateway)
      let isOver = false
      const transfer = move(network, bytes).finally(() => {
        isOver = true
      })
      await roamUntil(isElsewhere)
      expect(isOver).toBe(false)
      const result = await transfer
      expect(result).toMatchObject({ bytes, here: result.there })
      expect(client.output.slice(mark)).not.toMatch(/goes by the stream/)
      const now = await statsOf(gateway)
      console.log(`${JSON.stringify(before.roaming)} -> ${JSON.stringify(now.roaming)}`)
      expect(now.roaming!.handedOver - before.roaming!.handedOver).toBeGreaterThan(100)
      await expectSameAssociation()
    })

    test('it may come back to the worker that knows it', async () => {
      await roamUntil(isAtHome)
      // The other one is told, and tells its counters a moment later.
      while ((await statsOf(gateway)).roaming!.endpoints > 0) await pause()
      const before = await statsOf(gateway)
      expect((await ping(network, corporateAddress, { count: 5 })).received).toBeGreaterThanOrEqual(4)
      expect((await statsOf(gateway)).roaming!.handedOver).toBe(before.roaming!.handedOver)
      await expectSameAssociation()
    })

    test.each([0, 1])('either of both workers may die: %i', async worker => {
      if (worker === 0) await roamUntil(isElsewhere)
      const since = gateway.mark
      gateway.write(`exit 0 ${worker}\n`)
      await gateway.waitFor(/replaced after (\d+) ms/, { since })
      expect((await ping(network, corporateAddress, { count: 5 })).received).toBeGreaterThanOrEqual(4)
      await expectSameAssociation()
    })
  })
})
