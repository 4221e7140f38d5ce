// Random traffic for the offload tests: trains of many flows, interleaved, with all that makes a train end.
import { TcpFlag } from '@twinbore/core/packet'
import type { Random } from '@twinbore/core/runtime'
import { randomBelow } from '@twinbore/core/runtime'
import { ipPacket, tcpPacket, udpPacket } from '@twinbore/core/testing'

export interface OwnedPacket {
  readonly packet: Uint8Array
  readonly owner: number
  /** Packets with the same number must keep their order. */
  readonly flow: number
}

/** A sender of one flow, whose packets mostly continue each other. */
class RandomFlow {
  readonly number: number
  readonly owner: number
  private readonly random: Random
  private readonly isTcp: boolean
  private readonly isV4: boolean
  private readonly ends: { source: string; destination: string; sourcePort: number; destinationPort: number }
  private readonly dontFragment: boolean
  private readonly fixesIdentification: boolean
  private readonly flowLabel: number
  private size: number
  private identification: number
  private sequenceNumber: number
  private acknowledgmentNumber = 77
  private window = 500
  private trafficClass = 0
  private hopLimit = 64
  private tcpOptions: Uint8Array

  constructor(random: Random, number: number) {
    const below = (n: number) => randomBelow(random, n)
    this.random = random
    this.number = number
    this.owner = below(2)
    this.isTcp = below(3) > 0
    this.isV4 = below(2) === 0
    // Ends differ in one thing at a time, so that a comparison that leaves something out is seen.
    const [near, far] = this.isV4 ? ['10.0.0.1', '10.0.1.'] : ['fd00::1', 'fd00::2:']
    this.ends = {
      source: near!,
      destination: `${far}${1 + (number & 3)}`,
      sourcePort: 4000 + ((number >> 2) & 3),
      destinationPort: 80 + (number >> 4),
    }
    this.dontFragment = below(2) === 0
    this.fixesIdentification = this.dontFragment && below(2) === 0
    this.flowLabel = below(2)
    this.size = 1 + below(60)
    this.identification = below(65536)
    this.sequenceNumber = random.uint32()
    this.tcpOptions = this.makeOptions()
  }

  private below(n: number): number {
    return randomBelow(this.random, n)
  }

  private makeOptions(): Uint8Array {
    const options = new Uint8Array(4 * this.below(11))
    for (let i = 0; i < options.length; i++) options[i] = this.below(256)
    return options
  }

  next(): OwnedPacket {
    this.mutate()
    const size = this.below(6) === 0 ? this.below(this.size + 2) : this.size
    const payload = new Uint8Array(size)
    for (let i = 0; i < size; i++) payload[i] = this.below(256)
    const ip = {
      ...this.ends,
      hopLimit: this.hopLimit,
      trafficClass: this.trafficClass,
      identification: this.identification & 0xffff,
      dontFragment: this.dontFragment,
      flowLabel: this.flowLabel,
    }
    if (!this.fixesIdentification) this.identification++
    const packet = this.isTcp ? this.segment(ip, payload) : this.datagram(ip, payload)
    if (this.below(60) === 0) packet[packet.length - 1]! ^= 1
    return { packet, owner: this.owner, flow: this.number }
  }

  private segment(ip: typeof this.ends, payload: Uint8Array): Uint8Array {
    let flags: number = TcpFlag.ack
    if (this.below(8) === 0) flags |= TcpFlag.psh
    if (this.below(50) === 0) flags |= 1 << this.below(8)
    const packet = tcpPacket({
      ...ip,
      flags,
      sequenceNumber: this.sequenceNumber,
      acknowledgmentNumber: this.acknowledgmentNumber,
      window: this.window,
      tcpOptions: this.tcpOptions,
      payload,
    })
    this.sequenceNumber = (this.sequenceNumber + payload.length) >>> 0
    return packet
  }

  private datagram(ip: typeof this.ends, payload: Uint8Array): Uint8Array {
    return udpPacket({ ...ip, payload, ...(this.isV4 && this.below(30) === 0 && { checksum: 'none' as const }) })
  }

  /** Now and then, something that a super-packet can't hide changes. */
  private mutate(): void {
    switch (this.below(120)) {
      case 0:
        this.identification += 1 + this.below(3)
        break
      case 1:
        this.sequenceNumber = (this.sequenceNumber + 1 + this.below(9)) >>> 0
        break
      case 2:
        this.acknowledgmentNumber++
        break
      case 3:
        this.window++
        break
      case 4:
        this.trafficClass ^= 1 << this.below(8)
        break
      case 5:
        this.hopLimit--
        break
      case 6:
        this.tcpOptions = this.makeOptions()
        break
      case 7:
        this.size = 1 + this.below(60)
        break
    }
  }
}

/** `count` packets of up to `flows` flows, in bursts; now and then a fragment or a ping of the same addresses. */
export function randomTraffic(random: Random, flows: number, count: number): OwnedPacket[] {
  const senders = Array.from({ length: flows }, (_, number) => new RandomFlow(random, number))
  const traffic: OwnedPacket[] = []
  while (traffic.length < count) {
    const sender = senders[randomBelow(random, flows)]!
    for (let burst = 1 + randomBelow(random, 6); burst > 0 && traffic.length < count; burst--) {
      traffic.push(sender.next())
    }
    if (randomBelow(random, 20) === 0) {
      const payload = new Uint8Array(16)
      const protocol = [1, 17, 47][randomBelow(random, 3)]!
      const packet = ipPacket({ source: '10.0.0.1', destination: '10.0.1.1', protocol, payload })
      if (protocol === 17) packet.set([0x20, 0], 6)
      traffic.push({ packet, owner: 0, flow: -1 })
    }
  }
  return traffic.slice(0, count)
}
