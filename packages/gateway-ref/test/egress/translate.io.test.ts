// The way out `translate` by port of the host's own address: rules and device, with packets as a translator writes them.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { IcmpType, Icmpv6Type, IpProtocol, TcpFlag, UnreachableCode } from '@twinbore/core/packet'
import { icmpEchoPacket, icmpErrorPacket, tcpPacket, udpPacket } from '@twinbore/core/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addressBytes, Capture, packetsHolding } from '../../../../tests/lab/capture.ts'
import {
  corporateAddress,
  corporateAddress6,
  gatewayInsideAddress,
  gatewayInsideAddress6,
  LabNetwork,
} from '../../../../tests/lab/lab-network.ts'
import type { LabProcess } from '../../../../tests/lab/lab-process.ts'
import { needs } from '../../../../tests/lab/needs.ts'
import { EgressHost, hostState, sendUdp, settled, startUdpEcho } from './egress-lab.ts'

const transit = '192.0.0.9'
const transit6 = 'fd00:7::9'

/** The same in both families. */
const families = [
  { name: 'IPv4', inner: transit, corporate: corporateAddress, own: gatewayInsideAddress, pool: '192.168.77.5' },
  { name: 'IPv6', inner: transit6, corporate: corporateAddress6, own: gatewayInsideAddress6, pool: 'fd77:77::5' },
]

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'tcpdump',
  'ping',
)('translate with the host address, by port', () => {
  let network: LabNetwork
  let host: EgressHost
  let capture: Capture
  let before: string
  const folder = mkdtempSync(join(tmpdir(), 'egress-'))
  const echoes: LabProcess[] = []

  beforeAll(async () => {
    network = await LabNetwork.create()
    await settled(network)
    before = await hostState(network)
    capture = await Capture.start(network, 'corporate', 'lan0', join(folder, 'corporate.pcap'))
    host = await EgressHost.start(network, { mode: 'translate' })
    for (const { corporate } of families) echoes.push(await startUdpEcho(network, 'corporate', corporate, 7000))
  })

  afterAll(async () => {
    await network?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(families)('$name UDP leaves with the host address and the answer comes back', async family => {
    const { inner, corporate, own } = family
    host.write(udpPacket({ source: inner, destination: corporate, sourcePort: 20_000, destinationPort: 7000 }))
    const echo = echoes[families.indexOf(family)]!
    expect((await echo.waitFor(/from (\S+) 20000 0/))[1]).toBe(own)
    const answer = await host.read(packet => packet.protocol === IpProtocol.udp)
    expect([answer.source, answer.sourcePort]).toEqual([corporate, 7000])
    expect([answer.destination, answer.destinationPort]).toEqual([inner, 20_000])
    expect(answer.isSound).toBe(true)
  })

  test.each(families)('$name TCP: a refusal comes back to the port', async ({ inner, corporate }) => {
    const ports = { sourcePort: 60_999, destinationPort: 7999 }
    host.write(tcpPacket({ source: inner, destination: corporate, ...ports, flags: TcpFlag.syn, sequenceNumber: 7 }))
    const answer = await host.read(packet => packet.protocol === IpProtocol.tcp)
    expect([answer.destination, answer.destinationPort]).toEqual([inner, 60_999])
    expect(answer.view.getUint8(answer.transport + 13) & TcpFlag.rst).not.toBe(0)
    expect(answer.isSound).toBe(true)
  })

  test.each(families)('$name echo by identifier', async ({ inner, corporate }) => {
    host.write(
      icmpEchoPacket({ source: inner, destination: corporate, identifier: 33_333, payload: Buffer.from('hi') }),
    )
    const answer = await host.read(packet => packet.source === corporate && packet.destination === inner)
    expect(answer.view.getUint16(answer.transport + 4)).toBe(33_333)
    expect(answer.isSound).toBe(true)
  })

  test.each(families)('$name errors from outside name the transit address inside as well', async family => {
    const { name, inner, corporate } = family
    const payload = Buffer.alloc(64, 3)
    const ports = { sourcePort: 21_000, destinationPort: 7777 }
    host.write(udpPacket({ source: inner, destination: corporate, ...ports, payload }))
    const error = await host.read(
      packet =>
        packet.protocol === (name === 'IPv4' ? IpProtocol.icmp : IpProtocol.icmpv6) && packet.source === corporate,
    )
    expect(error.destination).toBe(inner)
    expect(error.isSound).toBe(true)
    expect([error.embedded.source, error.embedded.sourcePort]).toEqual([inner, 21_000])
    expect([error.embedded.destination, error.embedded.destinationPort]).toEqual([corporate, 7777])
    // The quoted packet is whole, so all of its checksums must be right again too; its TTL has been counted down.
    expect(error.embedded.isSound).toBe(true)
  })

  test.each(families)('$name errors from inside name the host address inside as well', async family => {
    const { name, inner, corporate, own } = family
    // Something from outside to a port of the translator, which answers with "port unreachable".
    const sender = sendUdp(network, 'corporate', { address: own, port: 22_000, length: 32 })
    const packet = await host.read(
      ({ protocol, destinationPort }) => protocol === IpProtocol.udp && destinationPort === 22_000,
    )
    expect(packet.destination).toBe(inner)
    const kind =
      name === 'IPv4'
        ? { type: IcmpType.destinationUnreachable, code: UnreachableCode.port }
        : { type: Icmpv6Type.destinationUnreachable, code: 4 }
    host.write(icmpErrorPacket({ source: inner, destination: corporate, ...kind, about: packet.bytes }))
    // The kernel hands the error to the socket only if the quoted packet is the one that the socket sent.
    await sender.waitFor(/error ECONNREFUSED/)
  })

  test.each(families)(
    '$name fragments from outside arrive whole or as fragments that belong together',
    async family => {
      const { inner, own } = family
      sendUdp(network, 'corporate', { address: own, port: 23_000, length: 4000 })
      const first = await host.read(
        packet =>
          packet.destination === inner && packet.protocol === IpProtocol.udp && packet.destinationPort === 23_000,
      )
      const rest = await host.read(packet => packet.destination === inner && packet.bytes.length < 1500)
      expect(rest.source).toBe(first.source)
    },
  )

  test.each(families)('$name ports outside of the range stay with the host', async ({ own }) => {
    const sender = sendUdp(network, 'corporate', { address: own, port: 19_999 })
    await sender.waitFor(/error ECONNREFUSED/)
    expect(host.hasRead(packet => packet.protocol === IpProtocol.udp && packet.destinationPort === 19_999)).toBe(false)
  })

  test.each(families)("$name ports of the range with a socket of the host's stay with the host", async ({ own }) => {
    const service = await startUdpEcho(network, 'gateway', own, 30_000)
    const sender = sendUdp(network, 'corporate', { address: own, port: 30_000, length: 5 })
    await sender.waitFor(/answer 5/)
    await service.stop()
  })

  test.each(families)(
    "$name pings of the host's own come back to it, whatever their identifier",
    async ({ corporate }) => {
      const { output } = await network.run('gateway', 'ping', ['-n', '-c', '1', '-W', '5', '-e', '44444', corporate])
      expect(output).toMatch(/1 received/)
    },
  )

  test.each(families)('$name connections of the host take ports outside of the range', async ({ corporate }) => {
    const echo = echoes[corporate === corporateAddress ? 0 : 1]!
    const { mark } = echo
    await sendUdp(network, 'gateway', { address: corporate, port: 7000, length: 9 }).waitFor(/answer 9/)
    const [, port] = await echo.waitFor(/from \S+ (\d+) 9/, { since: mark })
    expect(Number(port)).toBeGreaterThan(60_999)
  })

  test.each(families)(
    '$name packets with any other source never leave the device',
    async ({ inner, pool, corporate }) => {
      const { mark } = echoes[corporate === corporateAddress ? 0 : 1]!
      const ports = { sourcePort: 24_000, destinationPort: 7000 }
      host.write(udpPacket({ source: pool, destination: corporate, ...ports }))
      // One that does leave shows that the one before had its chance.
      host.write(udpPacket({ source: inner, destination: corporate, sourcePort: 24_001, destinationPort: 7000 }))
      const echo = echoes[corporate === corporateAddress ? 0 : 1]!
      await echo.waitFor(/from \S+ 24001/, { since: mark })
      expect(echo.output.slice(mark)).not.toMatch(/ 24000 /)
    },
  )

  test('the host forwards nothing else', async () => {
    await network.mustRun('client', 'ip', ['route', 'add', '10.2.0.0/24', 'via', '10.99.1.1'])
    const { output } = await network.run('client', 'ping', ['-n', '-c', '1', '-W', '1', corporateAddress])
    expect(output).toMatch(/0 received/)
  })

  test('a crash leaves nothing forwarding, and the next start clears it up', async () => {
    host.process.kill('SIGKILL')
    await host.process.finished
    // The device is gone; its ports now lead nowhere, and packets to the pool do not leave.
    sendUdp(network, 'corporate', { address: gatewayInsideAddress, port: 25_000 })
    sendUdp(network, 'corporate', { address: gatewayInsideAddress6, port: 25_000 })
    await network.run('gateway', 'ping', ['-n', '-c', '1', '-W', '1', '192.168.77.5'])
    await network.mustRun('gateway', 'ip', ['route', 'add', 'default', 'via', corporateAddress])
    await network.mustRun('gateway', 'ip', ['-6', 'route', 'add', 'default', 'via', corporateAddress6])
    // With a default route back to where they came from, the kernel would like to send redirects about these.
    sendUdp(network, 'corporate', { address: gatewayInsideAddress, port: 25_001 })
    sendUdp(network, 'corporate', { address: gatewayInsideAddress6, port: 25_001 })
    await network.run('gateway', 'ping', ['-n', '-c', '1', '-W', '1', '192.168.77.5'])
    await network.run('gateway', 'ping', ['-n', '-c', '1', '-W', '1', transit])
    await network.run('gateway', 'ping', ['-n', '-c', '1', '-W', '1', transit6])
    await network.mustRun('gateway', 'ip', ['route', 'del', 'default'])
    await network.mustRun('gateway', 'ip', ['-6', 'route', 'del', 'default'])
    host = await EgressHost.start(network, { mode: 'translate' })
    expect(host.process.output).toMatch(/ended without cleaning up/)
  })

  test('a second gateway of the same name is refused while the first one runs', async () => {
    await expect(EgressHost.start(network, { mode: 'translate' })).rejects.toThrow(/another gateway named 'test'/)
    host.write(icmpEchoPacket({ source: transit, destination: corporateAddress, identifier: 33_334 }))
    await host.read(packet => packet.source === corporateAddress && packet.protocol === IpProtocol.icmp)
  })

  test('stopping takes everything back', async () => {
    await host.stop()
    expect(await hostState(network)).toBe(before)
  })

  test('no packet on the corporate link held an inside address in any byte', async () => {
    const packets = await capture.stop()
    const inside = ['192.168.77.1', '192.168.77.5', transit, 'fd77:77::1', 'fd77:77::5', transit6]
    expect(packets.length).toBeGreaterThan(40)
    // Lookups of the link itself (ARP) would count as well.
    expect(
      inside.flatMap(address =>
        packetsHolding(packets, addressBytes(address)).map(bytes => Buffer.from(bytes).toString('hex')),
      ),
    ).toEqual([])
    expect(packetsHolding(packets, addressBytes(gatewayInsideAddress)).length).toBeGreaterThan(0)
  })
})
