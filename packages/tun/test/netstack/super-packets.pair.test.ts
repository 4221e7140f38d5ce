// Stacks that send super-packets: cut, they are the packets that a stack without them sends, and joined again they are one
// segment to the other stack.
import {
  cutPackets,
  DropReason,
  IpProtocol,
  Ipv4Field,
  ipVersion,
  PacketBatch,
  TcpFlag,
  tcpFlags,
  tcpSequenceNumber,
  Verdict,
  verifyTransportChecksum,
  writeIpv4HeaderChecksum,
} from '@twinbore/core/packet'
import { seededRandom } from '@twinbore/core/runtime'
import { tcpPacket, udpPacket } from '@twinbore/core/testing'
import { describe, expect, test } from 'vitest'
import { NetStack } from '../../src/netstack/index.ts'
import { coalescePackets } from '../../src/offload/coalesce.ts'
import { client4, client6, families, gateway4, gateway6, icmpKind } from './stack-pair.ts'

const mtu = 1400
const streamBytes = 400_000

interface Link {
  /** Whether the stacks send super-packets, and whether packets are joined before they get them. */
  readonly superPackets: boolean
  /** Whether the packet of this number, of its direction, is lost. */
  readonly loses: (direction: 'up' | 'down', number: number) => boolean
}

/** One client, one gateway, and what passes between them as single packets. */
class SuperPair {
  now = 1000
  readonly client: NetStack
  readonly gateway: NetStack
  /** Every packet, also of those that were lost, without an identification of IPv4. */
  readonly packets: string[] = []
  /** The largest super-packets that were sent and handed over. */
  mostSent = 1
  mostTaken = 1
  private readonly link: Link
  private readonly numbers = { up: 0, down: 0 }
  private readonly leaving: PacketBatch
  private readonly arriving = new PacketBatch({ capacity: 1024, slotBytes: mtu })

  constructor(link: Link) {
    this.link = link
    // Either takes all that may be sent at once.
    this.leaving = new PacketBatch(
      link.superPackets ? { capacity: 512, slotBytes: 65_535 } : { capacity: 1024, slotBytes: mtu },
    )
    const common = { mtu, superPackets: link.superPackets }
    this.client = new NetStack({ random: seededRandom(1), addresses: [client4, client6], ...common })
    const addresses = [gateway4, gateway6]
    this.gateway = new NetStack({ random: seededRandom(2), acceptAnyDestination: true, addresses, ...common })
  }

  /** Sends a stream from the client to `remote`, back whatever comes, and returns what the client got. */
  echo(remote: string): Uint8Array {
    const sent = Uint8Array.from({ length: streamBytes }, (_, i) => (i * 7 + (i >>> 8)) & 0xff)
    const received: Uint8Array[] = []
    const echoing: Uint8Array[] = []
    const flow = this.client.openTcp({ remote: { address: remote, port: 7 } }, this.now)
    let written = 0
    let ended = false
    let isOver = false
    let gatewayFlow = -1
    const write = () => {
      written += this.client.write(flow, sent.subarray(written), this.now)
      if (written === sent.length && !ended) {
        ended = true
        this.client.shutdown(flow, this.now)
      }
    }
    const pass = () => {
      for (let bytes = echoing[0]; bytes; bytes = echoing[0]) {
        const taken = this.gateway.write(gatewayFlow, bytes, this.now)
        if (taken < bytes.length) {
          echoing[0] = bytes.subarray(taken)
          return
        }
        echoing.shift()
      }
      const bytes = this.gateway.read(gatewayFlow, this.now, 65_536)
      if (bytes) {
        echoing.push(bytes)
        pass()
      }
    }
    let gatewayEnded = false
    while (!isOver) {
      for (let output = this.gateway.poll(); output; output = this.gateway.poll()) {
        if (output.type === 'flow-requested') {
          gatewayFlow = output.flow
          this.gateway.accept(gatewayFlow, this.now)
        } else if (output.type === 'flow-readable' || output.type === 'flow-writable') pass()
        else if (output.type === 'flow-ended') gatewayEnded = true
        if (gatewayEnded && echoing.length === 0 && this.gateway.readableBytes(gatewayFlow) === 0) {
          gatewayEnded = false
          this.gateway.shutdown(gatewayFlow, this.now)
        }
      }
      for (let output = this.client.poll(); output; output = this.client.poll()) {
        if (output.type === 'flow-established' || output.type === 'flow-writable') write()
        else if (output.type === 'flow-readable') {
          for (let bytes = this.client.read(flow, this.now); bytes; bytes = this.client.read(flow, this.now)) {
            received.push(bytes)
          }
        } else if (output.type === 'flow-reset') throw new Error(`reset: ${output.reason}`)
        else if (output.type === 'flow-ended') isOver = true
      }
      this.move()
    }
    return Uint8Array.from(received.flatMap(bytes => [...bytes]))
  }

  /** Moves what waits, or else time. */
  private move(): void {
    if (this.carry('up') + this.carry('down') > 0) {
      this.now += 1
      return
    }
    const next = Math.min(this.client.deadline ?? Infinity, this.gateway.deadline ?? Infinity)
    if (next === Infinity) throw new Error('nothing moves any more')
    this.now = Math.max(this.now, next)
    this.client.handleDeadline(this.now)
    this.gateway.handleDeadline(this.now)
  }

  private carry(direction: 'up' | 'down'): number {
    const [from, to] = direction === 'up' ? [this.client, this.gateway] : [this.gateway, this.client]
    const { leaving, arriving } = this
    leaving.reset()
    arriving.reset()
    const packets = from.drain(leaving, this.now)
    let cut = 0
    for (let slot = 0; slot < leaving.count; slot++) {
      this.mostSent = Math.max(this.mostSent, leaving.segments[slot]!)
      for (const packet of cutPackets(leaving, slot)) {
        cut++
        this.packets.push(`${direction} ${textOf(packet)}`)
        if (!this.link.loses(direction, this.numbers[direction]++)) arriving.push(packet)
      }
    }
    expect(packets).toBe(cut)
    if (this.link.superPackets) coalescePackets(arriving)
    for (let slot = 0; slot < arriving.count; slot++) {
      if (arriving.verdicts[slot] === Verdict.forward)
        this.mostTaken = Math.max(this.mostTaken, arriving.segments[slot]!)
    }
    to.handlePackets(arriving, this.now)
    return packets
  }
}

/** Length and bytes of a packet whose checksums are right, with no identification. */
function textOf(packet: Uint8Array): string {
  const view = new DataView(packet.buffer, packet.byteOffset, packet.length)
  const v4 = ipVersion(view, 0) === 4
  const at = v4 ? 20 : 40
  expect(packet.length).toBeLessThanOrEqual(mtu)
  expect(verifyTransportChecksum(view, 0, at, packet.length - at, IpProtocol.tcp)).toBe(true)
  if (v4) {
    view.setUint16(Ipv4Field.identification, 0)
    writeIpv4HeaderChecksum(view, 0)
  }
  return `${packet.length} ${Buffer.from(packet.subarray(0, at + 40)).toString('hex')}`
}

const losses: Record<string, Link['loses']> = {
  'no loss': () => false,
  'every 97th packet lost': (_, number) => number % 97 === 96,
  'a burst lost': (direction, number) => direction === 'up' && number >= 60 && number < 75,
  'acknowledgements lost': (_, number) => number > 20 && number % 5 === 0,
}

describe.each(families)('$name', ({ far }) => {
  test.each(Object.entries(losses))('%s: with super-packets the same stream comes through', (_, loses) => {
    const joined = new SuperPair({ superPackets: true, loses })
    const expected = Uint8Array.from({ length: streamBytes }, (_, i) => (i * 7 + (i >>> 8)) & 0xff)
    expect(Buffer.compare(joined.echo(far), expected)).toBe(0)
    expect(joined.mostSent).toBeGreaterThan(10)
    expect(joined.mostTaken).toBeGreaterThan(10)
  })

  test('cut, they are the packets of a stack without them', () => {
    const joined = new SuperPair({ superPackets: true, loses: () => false })
    const single = new SuperPair({ superPackets: false, loses: () => false })
    joined.echo(far)
    single.echo(far)
    expect([single.mostSent, single.mostTaken]).toEqual([1, 1])
    expect(joined.packets).toEqual(single.packets)
  })

  test('one whose hops are used up is told once, with what lies at its place', () => {
    const { gateway } = new SuperPair({ superPackets: true, loses: () => false })
    const batch = superPacketOf(far, { hopLimit: 1 })
    gateway.handlePackets(batch, 0)
    expect([batch.verdicts[0], batch.drops[DropReason.ttlExceeded]]).toEqual([Verdict.drop, 3])
    expect(gateway.stats()).toMatchObject({ packetsIn: 3, errorsSent: 1, drops: { ttlExceeded: 3 } })
    batch.reset()
    gateway.drain(batch, 0)
    expect(icmpKind(batch.packet(0))).toBe(far.includes(':') ? '3/0' : '11/0')
  })

  test('one of no connection is reset once', () => {
    const { gateway } = new SuperPair({ superPackets: true, loses: () => false })
    const batch = superPacketOf(far, {})
    gateway.handlePackets(batch, 0)
    expect(gateway.stats()).toMatchObject({ packetsIn: 3, resetsSent: 1, drops: { noMapping: 3 } })
    batch.reset()
    gateway.drain(batch, 0)
    const at = batch.offsets[0]! + (far.includes(':') ? 40 : 20)
    // The sender acknowledged, so the number is that of its acknowledgement.
    expect([tcpFlags(batch.view, at), tcpSequenceNumber(batch.view, at)]).toEqual([TcpFlag.rst, 5])
  })

  test('one of UDP is none that the stack takes', () => {
    const { gateway } = new SuperPair({ superPackets: true, loses: () => false })
    const batch = new PacketBatch({ capacity: 4, slotBytes: mtu })
    const inside = far.includes(':') ? client6 : client4
    for (let i = 0; i < 3; i++) {
      batch.push(
        udpPacket({
          source: inside,
          destination: far,
          sourcePort: 1,
          destinationPort: 2,
          identification: i,
          payload: new Uint8Array(100),
        }),
      )
    }
    coalescePackets(batch, true)
    expect(batch.segments[0]).toBe(3)
    gateway.handlePackets(batch, 0)
    expect(gateway.stats()).toMatchObject({ flowsRequested: 0, drops: { unsupportedProtocol: 3 } })
  })
})

/** Three segments of a client, joined, each in a slot that is hardly longer. */
function superPacketOf(remote: string, { hopLimit = 64 }): PacketBatch {
  const batch = new PacketBatch({ capacity: 3, slotBytes: mtu })
  const inside = remote.includes(':') ? client6 : client4
  for (let i = 0; i < 3; i++) {
    batch.push(
      tcpPacket({
        source: inside,
        destination: remote,
        sourcePort: 5000,
        destinationPort: 80,
        flags: TcpFlag.ack,
        sequenceNumber: 1 + 500 * i,
        acknowledgmentNumber: 5,
        payload: new Uint8Array(500),
        hopLimit,
        identification: i,
      }),
    )
  }
  coalescePackets(batch)
  expect(batch.segments[0]).toBe(3)
  return batch
}
