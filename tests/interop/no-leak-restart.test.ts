// While a data plane dies under load and is replaced, nothing passes in another way: no client address is seen on the corporate
// side, in any byte of any packet, and nothing but records of DTLS and TLS on the client's.
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { addressBytes, Capture, packetsHolding } from '../lab/capture.ts'
import { type LabCertificates, makeCertificates } from '../lab/certificates.ts'
import { die, startFailingGateway } from '../lab/failing-gateway.ts'
import {
  corporateAddress,
  corporateAddress6,
  gatewayAddress,
  gatewayInsideAddress,
  gatewayInsideAddress6,
  LabNetwork,
} from '../lab/lab-network.ts'
import type { LabProcess } from '../lab/lab-process.ts'
import { needs } from '../lab/needs.ts'
import { connectOpenconnect, endOpenconnect, tunnelAddresses } from '../lab/openconnect.ts'
import { download, nextAnswer, reach, startFileServer, startPing, upload } from '../lab/traffic.ts'
import { configureGateway, port } from '../lab/twinbore.ts'
import { checkWire, type WireFindings } from '../lab/wire-check.ts'
import { Workspace } from '../lab/workspace.ts'

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'openssl',
  'openconnect',
  'ping',
  'tcpdump',
)('a data plane that dies under load', () => {
  describe.each(['translate', 'kernel'] as const)('egress: %s', egress => {
    let network: LabNetwork
    let workspace: Workspace
    let certificates: LabCertificates
    let gateway: LabProcess
    let inside: Uint8Array[]
    let outside: Uint8Array[]
    let wire: WireFindings
    const held = new Set<string>()

    beforeAll(async () => {
      workspace = new Workspace()
      network = await LabNetwork.create()
      certificates = await makeCertificates(workspace)
      await startFileServer(network)
      const config = await configureGateway(workspace, {
        certificates,
        config: { egress: { mode: egress }, dataPlane: { driver: 'worker' }, session: { dpdSeconds: 30 } },
      })
      gateway = await startFailingGateway(network, config)
      const toCorporate = await Capture.start(network, 'corporate', 'lan0', workspace.path('inside.pcap'), {
        busy: true,
      })
      const toClient = await Capture.start(network, 'client', 'wan0', workspace.path('outside.pcap'), { busy: true })
      const server = { url: `https://${gatewayAddress}`, serverPin: certificates.gatewayPin }
      const alice = { ...server, user: 'alice', passwords: ['secret'] }
      // By DTLS and then by TLS alone: what is on its way by either must not get out another way.
      for (const more of [[], ['--no-dtls']]) {
        const client = await connectOpenconnect(network, { ...alice, more }, { dtls: more.length === 0 })
        for (const address of tunnelAddresses(client)) held.add(address)
        await reach(network, corporateAddress)
        await busy(async pinging => {
          for (const way of more.length === 0 ? (['exit', 'hang'] as const) : (['throw'] as const)) {
            await die(gateway, way, 1_000_000)
            await nextAnswer(pinging)
          }
        })
        await endOpenconnect(client)
      }
      inside = await toCorporate.stop()
      outside = await toClient.stop()
      wire = checkWire(outside, addressBytes(gatewayAddress), port)
    })
    afterAll(async () => {
      await network?.close()
      workspace?.remove()
    })

    /**
     * Transfers both ways and pings, while `work` is done. The transfers go on to their ends, whole, or where the translator died
     * and took their connections with it, new ones do.
     */
    async function busy(work: (pinging: LabProcess) => Promise<void>): Promise<void> {
      const pings = [corporateAddress, corporateAddress6].map(address => startPing(network, address, 0.02))
      let isOver = false
      const once = async (transfer: typeof upload, address: string) => {
        const { bytes, here, there } = await transfer(network, 3_000_000, address)
        expect([bytes, here]).toEqual([3_000_000, there])
      }
      const repeat = async (transfer: typeof upload, address: string) => {
        while (!isOver) await once(transfer, address).catch(error => (egress === 'kernel' ? Promise.reject(error) : 0))
      }
      const transfers = Promise.all([repeat(upload, corporateAddress), repeat(download, corporateAddress6)])
      // Told by the `await` below, where there is one.
      transfers.catch(() => {})
      await work(pings[0]!).finally(() => {
        isOver = true
      })
      // One that has lost its connection may wait for long: it is left behind, and ended with the network.
      if (egress === 'kernel') await transfers
      await Promise.all([once(upload, corporateAddress), once(download, corporateAddress6)])
      await Promise.all(pings.map(one => one.stop('SIGINT')))
    }

    test('is replaced each time, and traffic went on under the gateway’s own addresses', () => {
      expect(gateway.output.match(/died and is started anew/g)).toHaveLength(3)
      expect(held.size).toBeGreaterThanOrEqual(2)
      for (const address of [gatewayInsideAddress, gatewayInsideAddress6]) {
        expect(packetsHolding(inside, addressBytes(address)).length).toBeGreaterThan(100)
      }
    })

    test('sends nothing untranslated: no address that a client held, in any byte of any packet', () => {
      for (const address of held) {
        const found = packetsHolding(inside, addressBytes(address)).map(packet => Buffer.from(packet).toString('hex'))
        expect(found.slice(0, 3), address).toEqual([])
      }
    })

    test('sends nothing unencrypted: records of DTLS and TLS, and no inner packet in any byte', () => {
      expect(wire.strange.slice(0, 3)).toEqual([])
      expect(wire.dtlsRecords).toBeGreaterThan(100)
      expect(wire.tlsRecords).toBeGreaterThan(100)
      for (const address of held) {
        const host = address.includes(':') ? corporateAddress6 : corporateAddress
        const [near, far] = [addressBytes(address), addressBytes(host)]
        for (const pair of [Buffer.concat([near, far]), Buffer.concat([far, near])]) {
          expect(packetsHolding(outside, pair).length).toBe(0)
        }
      }
    })
  })
})

test('what is not encrypted is found, beside records and in place of them', () => {
  const source = addressBytes('10.99.1.1')
  const frame = (protocol: number, transport: number[]) =>
    Uint8Array.from([
      ...[...new Array<number>(12).fill(0), 8, 0],
      ...[0x45, 0, 0, 20 + transport.length, 0, 0, 0, 0, 64, protocol, 0, 0, ...source, 10, 99, 1, 2],
      ...transport,
    ])
  const udp = (...payload: number[]) => frame(17, [1, 187, 0, 9, 0, 8 + payload.length, 0, 0, ...payload])
  const tcp = (sequence: number, ...payload: number[]) =>
    frame(6, [1, 187, 0, 9, 0, 0, 0, sequence, 0, 0, 0, 0, 0x50, 0, 0, 0, 0, 0, 0, 0, ...payload])
  const record = [23, 0xfe, 0xfd, 0, 1, 0, 0, 0, 0, 0, 7, 0, 2, 1, 2]
  const tls = [23, 3, 3, 0, 3, 1, 2, 3]
  const look = (...frames: Uint8Array[]) => checkWire(frames, source, 443)
  expect(look(udp(...record), udp(...record, ...record), tcp(1, ...tls.slice(0, 4)), tcp(5, ...tls.slice(4)))).toEqual({
    dtlsRecords: 3,
    tlsRecords: 1,
    strange: [],
  })
  expect(look(udp(0x45, 0, 0, 20, ...new Array<number>(16).fill(0))).strange).toHaveLength(1)
  expect(look(udp(...record, 1)).strange).toHaveLength(1)
  expect(look(tcp(1, ...tls, 0x45, 0, 0, 20, 1)).strange).toHaveLength(1)
  expect(look(frame(1, [8, 0, 0, 0])).strange).toHaveLength(1)
})
