// The way out `kernel`: the kernel translates, with packets as clients send them.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { IpProtocol } from '@twinbore/core/packet'
import { icmpEchoPacket, udpPacket } from '@twinbore/core/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addressBytes, Capture, packetsHolding } from '../../../../tests/lab/capture.ts'
import {
  corporateAddress,
  corporateAddress6,
  gatewayInsideAddress,
  gatewayInsideAddress6,
  LabNetwork,
} from '../../../../tests/lab/lab-network.ts'
import { needs } from '../../../../tests/lab/needs.ts'
import { EgressHost, hostState, sendUdp, settled, startUdpEcho } from './egress-lab.ts'

const families = [
  {
    name: 'IPv4',
    client: '192.168.77.5',
    other: '192.168.77.6',
    spoofed: '10.9.9.9',
    corporate: corporateAddress,
    own: gatewayInsideAddress,
    icmp: IpProtocol.icmp,
  },
  {
    name: 'IPv6',
    client: 'fd77:77::5',
    other: 'fd77:77::6',
    spoofed: 'fd09::9',
    corporate: corporateAddress6,
    own: gatewayInsideAddress6,
    icmp: IpProtocol.icmpv6,
  },
]

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'tcpdump',
)('the kernel translates', () => {
  let network: LabNetwork
  let host: EgressHost
  let capture: Capture
  let before: string
  const folder = mkdtempSync(join(tmpdir(), 'egress-'))

  beforeAll(async () => {
    network = await LabNetwork.create()
    await settled(network)
    before = await hostState(network)
    capture = await Capture.start(network, 'corporate', 'lan0', join(folder, 'corporate.pcap'))
    host = await EgressHost.start(network, { mode: 'kernel', mtu: 1400 })
  })

  afterAll(async () => {
    await network?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  // A client's port 443 must not become the gateway's port 443: see CVE-2021-3773.
  test.each(families)('$name UDP leaves by a port of the range and the answer comes back', async family => {
    const { client, corporate, own } = family
    const echo = await startUdpEcho(network, 'corporate', corporate, 7000)
    host.write(udpPacket({ source: client, destination: corporate, sourcePort: 443, destinationPort: 7000 }))
    const [, address, port] = await echo.waitFor(/from (\S+) (\d+) 0/)
    expect(address).toBe(own)
    expect(Number(port)).toBeGreaterThanOrEqual(20_000)
    expect(Number(port)).toBeLessThanOrEqual(60_999)
    const answer = await host.read(packet => packet.protocol === IpProtocol.udp)
    expect([answer.destination, answer.destinationPort]).toEqual([client, 443])
    expect(answer.isSound).toBe(true)
    await echo.stop()
  })

  test.each(families)('$name echo and errors come back with the inside address', async family => {
    const { client, corporate, icmp } = family
    host.write(icmpEchoPacket({ source: client, destination: corporate, identifier: 7 }))
    const reply = await host.read(packet => packet.protocol === icmp && packet.source === corporate)
    expect([reply.destination, reply.view.getUint16(reply.transport + 4)]).toEqual([client, 7])
    host.write(udpPacket({ source: client, destination: corporate, sourcePort: 5, destinationPort: 7777 }))
    const error = await host.read(packet => packet.protocol === icmp && packet.source === corporate)
    expect([error.destination, error.embedded.source, error.embedded.sourcePort]).toEqual([client, client, 5])
    expect(error.isSound).toBe(true)
  })

  test.each(families)('$name errors of the host about answers name only its own address', async family => {
    const { client, corporate, own } = family
    // An answer larger than the device: the sender must be told, and about the packet that it sent.
    const echo = await startUdpEcho(network, 'corporate', corporate, 7002)
    host.write(udpPacket({ source: client, destination: corporate, sourcePort: 6, destinationPort: 7002 }))
    const [, port] = await echo.waitFor(/from \S+ (\d+) 0/)
    await echo.stop()
    const sender = sendUdp(network, 'corporate', { address: own, port: Number(port), length: 1450, from: 7002 })
    await sender.waitFor(/error EMSGSIZE/)
  })

  test.each(families)(
    '$name unsolicited packets for the pool do not come in',
    async ({ client, corporate, own, icmp }) => {
      const ip = corporate.includes(':') ? ['-6'] : []
      await network.mustRun('corporate', 'ip', [...ip, 'route', 'add', client, 'via', own])
      const sender = sendUdp(network, 'corporate', { address: client, port: 9 })
      await network.run('corporate', 'ping', ['-n', '-c', '1', '-W', '1', own])
      await sender.stop()
      await network.mustRun('corporate', 'ip', [...ip, 'route', 'del', client, 'via', own])
      host.write(icmpEchoPacket({ source: client, destination: corporate, identifier: 9 }))
      await host.read(packet => packet.source === corporate && packet.protocol === icmp)
      expect(host.hasRead(packet => packet.protocol === IpProtocol.udp && packet.destinationPort === 9)).toBe(false)
    },
  )

  test.each(families)('$name other sources do not leave, and clients do not reach each other', async family => {
    const { client, other, spoofed, corporate, icmp } = family
    const echo = await startUdpEcho(network, 'corporate', corporate, 7003)
    host.write(udpPacket({ source: spoofed, destination: corporate, sourcePort: 1, destinationPort: 7003 }))
    host.write(udpPacket({ source: client, destination: other, sourcePort: 2, destinationPort: 7003 }))
    host.write(icmpEchoPacket({ source: client, destination: corporate, identifier: 10 }))
    await host.read(packet => packet.source === corporate && packet.protocol === icmp)
    expect(echo.output).not.toMatch(/from/)
    expect(host.hasRead(packet => packet.destination === other)).toBe(false)
    await echo.stop()
  })

  test('stopping takes everything back, and no pool address was on the link', async () => {
    await host.stop()
    const packets = await capture.stop()
    expect(await hostState(network)).toBe(before)
    expect(packets.length).toBeGreaterThan(20)
    // Those of the test "unsolicited packets" were sent by the corporate host itself; it is at the link's other end.
    const fromGateway = packets.filter(
      packet => !isFrom(packet, corporateAddress) && !isFrom(packet, corporateAddress6),
    )
    for (const { client } of families) {
      const leaks = packetsHolding(fromGateway, addressBytes(client)).map(bytes => Buffer.from(bytes).toString('hex'))
      expect(leaks).toEqual([])
    }
  })
})

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'tcpdump',
)('a host that already forwards and translates for others', () => {
  let network: LabNetwork
  const folder = mkdtempSync(join(tmpdir(), 'egress-'))

  afterAll(async () => {
    await network?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test('late answers after the end are not translated back to pool addresses', async () => {
    network = await LabNetwork.create()
    await settled(network)
    await network.mustRun('gateway', 'sysctl', ['-w', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
    await network.mustRun('gateway', 'ip', ['route', 'add', 'default', 'via', corporateAddress])
    await network.mustRun('gateway', 'ip', ['-6', 'route', 'add', 'default', 'via', corporateAddress6])
    await network.mustRun('gateway', 'nft', ['-f', '-'], {
      input:
        'table inet others {\nchain source { type nat hook postrouting priority srcnat; ip saddr 10.99.9.0/24 masquerade; }\n}',
    })
    const before = await hostState(network)
    const host = await EgressHost.start(network, { mode: 'kernel' })
    const ports: string[] = []
    for (const { client, corporate } of families) {
      const echo = await startUdpEcho(network, 'corporate', corporate, 7000)
      host.write(udpPacket({ source: client, destination: corporate, sourcePort: 99, destinationPort: 7000 }))
      ports.push((await echo.waitFor(/from \S+ (\d+) 0/))[1]!)
      await host.read(packet => packet.destination === client)
      await echo.stop()
    }
    await host.stop()
    expect(await hostState(network)).toBe(before)
    const capture = await Capture.start(network, 'corporate', 'lan0', join(folder, 'late.pcap'))
    for (const [i, { own }] of families.entries()) {
      // The host is who answers now: nobody listens on that port.
      const late = sendUdp(network, 'corporate', { address: own, port: Number(ports[i]), from: 7000 })
      await late.waitFor(/error ECONNREFUSED/)
    }
    const packets = await capture.stop()
    for (const { client } of families) expect(packetsHolding(packets, addressBytes(client))).toEqual([])
  })
})

/** Whether the IP source of a captured frame is this address. */
function isFrom(frame: Uint8Array, address: string): boolean {
  const bytes = addressBytes(address)
  const at = 14 + (bytes.length === 4 ? 12 : 8)
  return bytes.every((byte, i) => frame[at + i] === byte)
}
