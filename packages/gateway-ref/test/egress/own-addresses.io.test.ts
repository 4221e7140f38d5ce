// The way out `translate` with outside addresses of its own, which lie in the network of the link: the host answers ARP and
// neighbour solicitations for them.
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { IpProtocol } from '@twinbore/core/packet'
import { udpPacket } from '@twinbore/core/testing'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { addressBytes, Capture, packetsHolding } from '../../../../tests/lab/capture.ts'
import { corporateAddress, corporateAddress6, LabNetwork } from '../../../../tests/lab/lab-network.ts'
import { needs } from '../../../../tests/lab/needs.ts'
import { EgressHost, hostState, sendUdp, settled, startUdpEcho } from './egress-lab.ts'

const families = [
  { name: 'IPv4', outside: '10.2.0.77', corporate: corporateAddress, pool: '192.168.77.5' },
  { name: 'IPv6', outside: 'fd02::77', corporate: corporateAddress6, pool: 'fd77:77::5' },
]

needs(
  'root',
  'tun',
  'ip',
  'nft',
  'tcpdump',
)('translate with own addresses', () => {
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
    host = await EgressHost.start(network, { mode: 'translate', addresses: families.map(family => family.outside) })
  })

  afterAll(async () => {
    await network?.close()
    rmSync(folder, { recursive: true, force: true })
  })

  test.each(families)('$name leaves with the outside address and comes back', async ({ outside, corporate }) => {
    const echo = await startUdpEcho(network, 'corporate', corporate, 7000)
    host.write(udpPacket({ source: outside, destination: corporate, sourcePort: 1500, destinationPort: 7000 }))
    expect((await echo.waitFor(/from (\S+) 1500 0/))[1]).toBe(outside)
    const answer = await host.read(packet => packet.protocol === IpProtocol.udp)
    expect([answer.destination, answer.destinationPort]).toEqual([outside, 1500])
    expect(answer.isSound).toBe(true)
    await echo.stop()
  })

  test.each(families)('$name every port of the address belongs to the translator', async ({ outside }) => {
    sendUdp(network, 'corporate', { address: outside, port: 22 })
    const packet = await host.read(
      ({ destination, protocol }) => protocol === IpProtocol.udp && destination === outside,
    )
    expect(packet.destinationPort).toBe(22)
  })

  test.each(families)('$name packets with a pool address never leave', async ({ outside, pool, corporate }) => {
    const echo = await startUdpEcho(network, 'corporate', corporate, 7001)
    host.write(udpPacket({ source: pool, destination: corporate, sourcePort: 1, destinationPort: 7001 }))
    host.write(udpPacket({ source: outside, destination: corporate, sourcePort: 2, destinationPort: 7001 }))
    await echo.waitFor(/from \S+ 2 /)
    expect(echo.output).not.toMatch(/ 1 /)
  })

  test('stopping takes everything back, and no inside address was on the link', async () => {
    await host.stop()
    expect(await hostState(network)).toBe(before)
    const packets = await capture.stop()
    for (const { pool } of families) expect(packetsHolding(packets, addressBytes(pool))).toEqual([])
  })
})
