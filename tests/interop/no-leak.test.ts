// No address of the client pool is ever seen on the corporate side: not in a header, not in a packet that an ICMP error
// quotes, not while the gateway starts, stops or dies.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addressBytes, Capture, packetsHolding, tracesOf } from '../lab/capture.ts'
import { Lab } from '../lab/lab.ts'
import { corporateAddress, corporateAddress6, gatewayInsideAddress, gatewayInsideAddress6 } from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import { ping, startFileServer, startPing, upload } from '../lab/traffic.ts'
import { startGateway } from '../lab/twinbore.ts'

const closedPort = 9

describe.each(['translate', 'kernel'] as const)('egress: %s', mode => {
  needs(
    'root',
    'tun',
    'ip',
    'nft',
    'openssl',
    'openconnect',
    'ping',
    'tcpdump',
    'curl',
    'socat',
  )('the corporate side', () => {
    let lab: Lab
    let packets: Uint8Array[]
    const held = new Set<string>()

    // Everything that makes the corporate host, the gateway or a router on the way answer with something unusual.
    async function provoke(): Promise<void> {
      await ping(lab.network, corporateAddress)
      await ping(lab.network, corporateAddress6)
      await ping(lab.network, corporateAddress, { sizeBytes: 3000 })
      await upload(lab.network, 10_000)
      for (const to of [corporateAddress, `[${corporateAddress6}]`]) {
        // A closed TCP port answers with a reset, a closed UDP port with an ICMP error that quotes the packet.
        await lab.network.run('client', 'curl', ['-s', '-m', '2', `http://${to}:${closedPort}/`])
        const family = to.startsWith('[') ? 'UDP6-SENDTO' : 'UDP4-SENDTO'
        for (let n = 0; n < 3; n += 1) {
          await lab.network.run('client', 'socat', ['-t', '0.2', '-', `${family}:${to}:${closedPort}`], {
            input: 'nobody listens',
          })
        }
      }
      // A time to live that ends at the gateway, and one that ends behind it.
      for (const ttl of ['1', '2']) {
        await lab.network.run('client', 'ping', ['-n', '-c', '1', '-W', '1', '-t', ttl, corporateAddress])
      }
      // Strangers from the corporate side: to a port nobody was given, and pings of the gateway.
      await lab.network.run('corporate', 'curl', ['-s', '-m', '1', `http://${gatewayInsideAddress}:30000/`])
      await ping(lab.network, gatewayInsideAddress, { host: 'corporate' })
    }

    async function connected(work: (client: LabProcess) => Promise<void>): Promise<void> {
      const client = await connectOpenconnect(lab.network, lab.alice)
      for (const address of tunnelAddresses(client)) held.add(address)
      const pinging = startPing(lab.network, corporateAddress, 0.02)
      const pinging6 = startPing(lab.network, corporateAddress6, 0.02)
      await work(client)
      await pinging.stop('SIGINT')
      await pinging6.stop('SIGINT')
      await endOpenconnect(client)
    }

    beforeAll(async () => {
      lab = await Lab.open()
      await startFileServer(lab.network)
      const config = await lab.configure({ config: { egress: { mode } } })
      const capture = await Capture.start(lab.network, 'corporate', 'lan0', lab.workspace.path('corporate.pcap'))
      // Connected and busy through an orderly end, then through a crash; each time packets keep coming from the client.
      let gateway = await startGateway(lab.network, config)
      await connected(async () => {
        await provoke()
        await gateway.stop('SIGTERM')
      })
      gateway = await startGateway(lab.network, config)
      await connected(async () => {
        await provoke()
        await gateway.stop('SIGKILL')
        await ping(lab.network, gatewayInsideAddress, { host: 'corporate' })
      })
      gateway = await startGateway(lab.network, config)
      await connected(provoke)
      await gateway.stop('SIGTERM')
      packets = await capture.stop()
    })
    afterAll(async () => {
      await lab?.close()
    })

    test('sees the clients’ traffic under the gateway’s own addresses', () => {
      expect(held.size).toBeGreaterThanOrEqual(2)
      for (const address of [gatewayInsideAddress, gatewayInsideAddress6]) {
        expect(packetsHolding(packets, addressBytes(address)).length).toBeGreaterThan(100)
      }
    })

    test('sees no address that a client held, in any byte of any packet', () => {
      expect(tracesOf(packets, held)).toEqual([])
    })

    test('sees no address of the pool as source or destination, in outer and in quoted headers', () => {
      // The network part alone is too short to look for in any byte: three bytes occur by chance.
      expect(packets.filter(packet => headersHold(packet, [192, 168, 77], 0x0800))).toEqual([])
      expect(packetsHolding(packets, addressBytes('fd77:77::').subarray(0, 8))).toEqual([])
    })
  })
})

test('a pool address in an outer or in a quoted header is found', () => {
  const ethernet = [...new Array<number>(12).fill(0), 8, 0]
  const header = (source: number[], protocol: number) => [
    0x45,
    0,
    0,
    0,
    0,
    0,
    0,
    0,
    64,
    protocol,
    0,
    0,
    ...source,
    10,
    2,
    0,
    2,
  ]
  const outer = Uint8Array.from([...ethernet, ...header([192, 168, 77, 5], 17)])
  const inner = header([192, 168, 77, 5], 17)
  const quoted = Uint8Array.from([...ethernet, ...header([10, 2, 0, 1], 1), 3, 3, 0, 0, 0, 0, 0, 0, ...inner])
  const clean = Uint8Array.from([...ethernet, ...header([10, 2, 0, 1], 17), 192, 168, 77, 5])
  expect([outer, quoted, clean].map(packet => headersHold(packet, [192, 168, 77], 0x0800))).toEqual([true, true, false])
})

// IPv4 source and destination of an Ethernet frame, and of the packet that an ICMP error in it quotes.
function headersHold(frame: Uint8Array, prefix: readonly number[], etherType: number): boolean {
  if (frame.length < 34 || frame[12]! * 256 + frame[13]! !== etherType) return false
  const at = 14
  const startsWith = (offset: number): boolean => prefix.every((byte, index) => frame[offset + index] === byte)
  if (startsWith(at + 12) || startsWith(at + 16)) return true
  const icmp = at + (frame[at]! & 15) * 4
  const isError = frame[at + 9] === 1 && [3, 4, 5, 11, 12].includes(frame[icmp]!)
  return isError && (startsWith(icmp + 8 + 12) || startsWith(icmp + 8 + 16))
}
