// A gateway at full load for long: streams both ways through a stock client and through ours, keys renewed every few seconds,
// sessions that come and go in a small pool of addresses, UDP cut and restored, and, in a second part, a data plane that dies
// now and then. Nobody's session is lost, every byte arrives as it was sent, and the process does not grow.
//
// SOAK_SECONDS is the length of both parts together (short by default: `npm run soak` runs for half an hour), SOAK_SEED the
// seed of their order of events, SOAK_REPORT a folder for a report.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { randomBelow, seededRandom } from '@twinbore/core/runtime'
import { afterAll, beforeAll, describe, expect, test, vi } from 'vitest'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { die, logOf, startFailingGateway, statsOf } from '../lab/failing-gateway.ts'
import { corporateAddress, corporateAddress6, gatewayAddress, LabNetwork } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import { growth, growthOfMedian, type Sample, takeSample, unexplained } from '../lab/soak-samples.ts'
import { reach } from '../lab/traffic.ts'
import { configureGateway, port } from '../lab/twinbore.ts'
import { Workspace } from '../lab/workspace.ts'

const seconds = Number(process.env.SOAK_SECONDS ?? 120)
const seed = Number(process.env.SOAK_SEED ?? Date.now() % 2 ** 31)
const streams = new URL('../lab/endless-streams.mjs', import.meta.url).pathname
const streamPort = 7200
const udpEverySeconds = 15
const samples = 24
const mayGrow = { heap: 12e6, resident: 48e6, descriptors: 8 }
const report: Record<string, unknown> = { date: new Date().toISOString(), node: process.version, seconds, seed }

interface StreamEnd {
  readonly name: string
  readonly sent: number
  readonly received: number
  readonly sentHash: string
  readonly receivedHash: string
}

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'ping',
)('a gateway at full load', () => {
  afterAll(() => {
    const folder = process.env.SOAK_REPORT
    if (!folder) return
    mkdirSync(folder, { recursive: true })
    const name = join(folder, `soak-${String(report.date).slice(0, 10)}`)
    writeFileSync(`${name}.json`, `${JSON.stringify(report, undefined, 2)}\n`)
    writeFileSync(`${name}.txt`, textOf(report))
  })

  describe.each([
    { egress: 'translate', part: 'sessions come and go, UDP is cut and restored', share: 0.7 },
    { egress: 'kernel', part: 'its data plane dies now and then', share: 0.3 },
  ] as const)('$part', ({ egress, part, share }) => {
    const length = seconds * share * 1000
    const mortal = egress === 'kernel'
    let network: LabNetwork
    let workspace: Workspace
    let certificates: LabCertificates
    let gateway: LabProcess
    let stock: LabProcess
    let service: LabProcess
    let flows: LabProcess
    let ours: LabProcess

    const server = () => ({ url: `https://${gatewayAddress}`, serverPin: certificates.gatewayPin })
    const alice = () => ({ ...server(), user: 'alice', passwords: ['secret'] })

    beforeAll(async () => {
      workspace = new Workspace()
      network = await LabNetwork.create()
      certificates = await makeCertificates(workspace)
      const config = await configureGateway(workspace, {
        certificates,
        users: { alice: 'secret', bob: 'secret' },
        config: {
          // Few addresses: those of sessions that have gone are soon somebody else's.
          pool: { ipv4: '192.168.77.0/28', ipv6: 'fd77:77::/64', quarantineSeconds: 1 },
          egress: { mode: egress },
          session: { dpdSeconds: 10, rekeySeconds: mortal ? 0 : 6, maxSeconds: 86_400 },
          datagram: { dpdSeconds: 2 },
          dataPlane: { driver: 'worker' },
        },
      })
      gateway = await startFailingGateway(network, config)
      const addresses = [corporateAddress, corporateAddress6]
      const start = (host: 'client' | 'corporate', command: string, more: readonly string[] = []) =>
        network.start(host, process.execPath, [streams, command, `${streamPort}`, ...addresses, ...more], {
          keepInputOpen: true,
        })
      service = start('corporate', 'serve')
      await service.waitFor(/^ready/m)
      stock = await connectOpenconnect(network, alice())
      await reach(network, corporateAddress)
      flows = start('client', 'sockets')
      await flows.waitFor(/^ready/m)
      ours = start('client', 'tunnel', ['--', server().url, server().serverPin, 'bob', 'secret'])
      await ours.waitFor(/^ready/m)
    })
    afterAll(async () => {
      await network?.close()
      workspace?.remove()
    })

    test(`nobody notices (SOAK_SEED=${seed})`, { timeout: length + 300_000 }, async () => {
      const random = seededRandom(seed)
      const began = performance.now()
      const isOver = () => performance.now() - began > length
      const counts = { sessions: 0, addressesUsedAgain: 0, udpCuts: 0, deaths: 0, hangs: 0 }
      const taken: Sample[] = []
      const before = (await statsOf(gateway)).list.map(({ id, ipv4, ipv6 }) => ({ id, ipv4, ipv6 }))
      expect(before).toHaveLength(2)

      const sampling = async () => {
        while (!isOver()) {
          taken.push(await takeSample(gateway, began))
          await sleep(length / samples)
        }
      }
      // A client connects, is reached, says goodbye; another one of its user gets its address sooner or later.
      const comings = async () => {
        const seen = new Set<string>()
        while (!isOver()) {
          const isStream = randomBelow(random, 3) === 0
          const client = await connectOpenconnect(
            network,
            { ...alice(), device: 'vpn1', routeMetric: 5000, more: isStream ? ['--no-dtls'] : [] },
            { dtls: false },
          )
          const [address] = tunnelAddresses(client)
          if (seen.has(address!)) counts.addressesUsedAgain++
          seen.add(address!)
          await network.mustRun('client', 'ping', ['-n', '-c', '1', '-w', '30', '-I', 'vpn1', corporateAddress], {
            timeoutMs: 40_000,
          })
          await endOpenconnect(client)
          counts.sessions++
        }
      }
      const channelsAre = async (channel: 'stream' | 'datagram') => {
        const wanted = before.map(({ id }) => id)
        await vi.waitFor(
          async () => {
            const { list } = await statsOf(gateway)
            const told = list.filter(({ id }) => wanted.includes(id)).map(({ activeChannel }) => activeChannel)
            expect(told).toEqual([channel, channel])
          },
          { timeout: 90_000, interval: 250 },
        )
      }
      const cuts = async () => {
        while (!isOver()) {
          const next = performance.now() + udpEverySeconds * 1000
          await network.dropUdp(port, (['both', 'to-client', 'to-gateway'] as const)[randomBelow(random, 3)]!)
          counts.udpCuts++
          await channelsAre('stream')
          await network.openUdp()
          await channelsAre('datagram')
          await sleep(Math.max(0, Math.min(next, began + length) - performance.now()))
        }
      }
      const deaths = async () => {
        while (!isOver()) {
          const way = (['exit', 'throw', 'hang'] as const)[randomBelow(random, 3)]!
          await die(gateway, way, 20_000_000)
          counts.deaths++
          if (way === 'hang') counts.hangs++
          // More than six in half a minute end a gateway.
          await sleep(6000)
        }
      }
      try {
        await Promise.all([sampling(), ...(mortal ? [deaths()] : [comings(), cuts()])])
      } catch (error) {
        throw new Error(`SOAK_SEED=${seed} failed after ${JSON.stringify(counts)}`, { cause: error })
      }

      for (const one of [flows, ours]) one.write('end\n')
      await Promise.all([flows, ours].map(one => one.waitFor(/^over/m, { timeoutMs: 60_000 })))
      const far = await vi.waitFor(() => {
        const ends = endsOf(service)
        expect(ends).toHaveLength(4)
        return ends
      })
      const near = [...endsOf(flows), ...endsOf(ours)]
      for (const { name, sent, received, sentHash, receivedHash } of near) {
        const other = far.find(end => end.name === name)
        expect(other).toMatchObject({ sent: received, received: sent, sentHash: receivedHash, receivedHash: sentHash })
        expect(Math.min(sent, received)).toBeGreaterThan(1_000_000)
      }
      expect(near).toHaveLength(4)

      // Sessions: the same two as at the beginning, with their addresses, and clients that were never asked who they are again.
      const stats = await vi.waitFor(async () => {
        const now = await statsOf(gateway)
        // Our client has said goodbye.
        expect(now.list).toHaveLength(1)
        return now
      })
      const { id, ipv4, ipv6 } = stats.list[0]!
      expect(before).toContainEqual({ id, ipv4, ipv6 })
      const granted = [...stock.output.matchAll(/Configured as ([^\n]*?), with SSL/g)].map(match => match[1])
      expect(new Set(granted).size).toBe(1)
      expect(stock.output.match(/Please enter|POST https/g)!.length).toBeLessThanOrEqual(4)
      expect(/^over (\S+)/m.exec(ours.output)![1]).toBe(/^ready (\S+)/m.exec(ours.output)![1])
      expect(`${ours.output}${flows.output}${service.output}`).not.toMatch(/broke|tunnel ended: (?!user-left)/)
      const lines = logOf(gateway)
      const resumed = lines.filter(line => line.msg === 'session resumed' && line.session === `${id}`)
      const renewals = { stock: resumed.length, ours: ours.output.match(/^renewed/gm)?.length ?? 0 }

      // The process.
      const grown = {
        heap: growth(taken, ({ heap }) => heap),
        resident: growth(taken, ({ resident }) => resident),
        descriptors: growthOfMedian(taken, ({ descriptors }) => descriptors),
      }
      const bytes = near.reduce((sum, { sent, received }) => sum + sent + received, 0)
      const found = {
        counts,
        renewals,
        gigabytes: bytes / 1e9,
        grown,
        unexplained: unexplained(stats, lines),
        drops: stats.drops,
        socket: stats.socket,
        device: stats.device,
        datagram: stats.datagram,
        restarts: stats.dataPlane.restarts,
        samples: taken.map(({ stats: _, ...rest }) => rest),
      }
      report[part] = found
      console.log(textOf({ [part]: { ...found, samples: taken.length, socket: '', device: '', datagram: '' } }))
      expect(grown.heap).toBeLessThan(mayGrow.heap)
      expect(grown.resident).toBeLessThan(mayGrow.resident)
      expect(grown.descriptors).toBeLessThan(mayGrow.descriptors)

      // What came in went out or was counted. A worker that dies takes its last counts with it.
      if (!mortal) {
        await vi.waitFor(
          async () => {
            const nothing = { outbound: 0, inbound: 0, received: 0, sent: 0 }
            expect(unexplained(await statsOf(gateway), logOf(gateway))).toEqual(nothing)
          },
          { timeout: 5000 },
        )
      }

      // What happened was what was meant to happen.
      const errors = lines.filter(({ level }) => level === 'error')
      expect(errors.filter(({ msg }) => msg !== 'the data plane died and is started anew')).toEqual([])
      expect(errors.filter(({ reason }) => /endless loop/.test(String(reason)))).toHaveLength(counts.hangs)
      expect(errors).toHaveLength(counts.deaths)
      expect(stats.dataPlane.restarts).toBe(errors.length)
      if (mortal) expect(counts.deaths).toBeGreaterThan(1)
      else {
        expect(Math.min(renewals.stock, renewals.ours, counts.udpCuts, counts.sessions)).toBeGreaterThan(1)
        if (counts.sessions > 14) expect(counts.addressesUsedAgain).toBeGreaterThan(0)
      }
      expect(gateway.output).not.toMatch(/unhandled|uncaught|InvariantError/i)
      report.ok = report.ok !== false
    })
  })
})

function endsOf(one: LabProcess): StreamEnd[] {
  return [...one.stdout.matchAll(/^stream (.*)$/gm)].map(match => JSON.parse(match[1]!) as StreamEnd)
}

function textOf(value: unknown, indent = ''): string {
  if (typeof value !== 'object' || value === null) return `${value}\n`
  return Object.entries(value)
    .map(([name, inner]) => {
      const isDeep = typeof inner === 'object' && inner !== null
      if (Array.isArray(inner))
        return `${indent}${name}:\n${inner.map(one => `${indent}  ${JSON.stringify(one)}\n`).join('')}`
      return `${indent}${name}:${isDeep ? '\n' : ' '}${textOf(inner, `${indent}  `)}`
    })
    .join('')
}
