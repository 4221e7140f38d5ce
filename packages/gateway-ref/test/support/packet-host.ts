import { IpAddress } from '@twinbore/core/address'
import {
  IcmpType,
  Icmpv6Type,
  IpProtocol,
  icmpIdentifier,
  icmpSequenceNumber,
  icmpType,
  ipVersion,
  locateTransport,
  PacketBatch,
  transportOffset,
  transportProtocol,
  udpDestinationPort,
  udpSourcePort,
} from '@twinbore/core/packet'
import { icmpEchoPacket, packetView, udpPacket } from '@twinbore/core/testing'
import { type MemoryDevice, memoryPair } from '@twinbore/tun'

/** What a test wants to know of a packet. */
export interface PacketFacts {
  readonly bytes: Uint8Array
  readonly source: string
  readonly destination: string
  readonly protocol: number
  /** Where the transport header begins. */
  readonly transportAt: number
}

/** Reads a well-formed packet. */
export function readPacket(bytes: Uint8Array): PacketFacts {
  const view = packetView(bytes)
  const location = locateTransport(view, 0, bytes.length)
  const [at, length] = ipVersion(view, 0) === 4 ? [12, 4] : [8, 16]
  return {
    bytes,
    source: IpAddress.fromBytes(bytes.slice(at, at + length)).toString(),
    destination: IpAddress.fromBytes(bytes.slice(at + length, at + 2 * length)).toString(),
    protocol: transportProtocol(location),
    transportAt: transportOffset(location),
  }
}

/** A computer at the other end of a memory device: it keeps what comes in, and a test waits for it. */
export class PacketHost {
  /** The end that the program under test has. */
  readonly device: MemoryDevice
  readonly received: PacketFacts[] = []
  private readonly own: MemoryDevice
  private readonly waiting = new Set<() => void>()
  /** Called for each packet that comes in. */
  onPacket: ((packet: PacketFacts) => void) | undefined = undefined

  constructor(mtu = 1500) {
    const [device, own] = memoryPair({ mtu })
    this.device = device
    this.own = own
    const batch = new PacketBatch()
    own.onReadable = () => {
      batch.reset()
      own.read(batch)
      for (let slot = 0; slot < batch.count; slot++) {
        const packet = readPacket(batch.packet(slot).slice())
        this.received.push(packet)
        this.onPacket?.(packet)
      }
      for (const look of this.waiting) look()
    }
  }

  send(...packets: readonly Uint8Array[]): void {
    const batch = new PacketBatch({ capacity: packets.length })
    for (const packet of packets) batch.push(packet)
    this.own.write(batch)
  }

  /** The first packet that fits, from those that came already or will. */
  next(fits: (packet: PacketFacts) => boolean): Promise<PacketFacts> {
    return new Promise(resolve => {
      const look = () => {
        const found = this.received.find(fits)
        if (!found) return
        this.waiting.delete(look)
        resolve(found)
      }
      this.waiting.add(look)
      look()
    })
  }
}

/** A corporate network in one host: it answers pings and sends UDP back, whatever address is asked. */
export function answeringHost(): PacketHost {
  const host = new PacketHost()
  host.onPacket = packet => {
    const answer = answerTo(packet)
    if (answer) host.send(answer)
  }
  return host
}

function answerTo({ bytes, source, destination, protocol, transportAt: at }: PacketFacts): Uint8Array | undefined {
  const view = packetView(bytes)
  const addresses = { source: destination, destination: source }
  if (protocol === IpProtocol.udp) {
    const sourcePort = udpDestinationPort(view, at)
    return udpPacket({
      ...addresses,
      sourcePort,
      destinationPort: udpSourcePort(view, at),
      payload: bytes.slice(at + 8),
    })
  }
  const type = icmpType(view, at)
  if (type !== IcmpType.echoRequest && type !== Icmpv6Type.echoRequest) return undefined
  return icmpEchoPacket({
    ...addresses,
    reply: true,
    identifier: icmpIdentifier(view, at),
    sequenceNumber: icmpSequenceNumber(view, at),
    payload: bytes.slice(at + 8),
  })
}
