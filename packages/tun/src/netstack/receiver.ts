import {
  DropReason,
  IcmpType,
  Icmpv6Type,
  IpProtocol,
  icmpType,
  isIcmpError,
  isIcmpv6Error,
  KeyedHash,
  type PacketBatch,
  Verdict,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import { isMartianDestination, textOfWords } from './address-words.ts'
import { DropCounters } from './counters.ts'
import { complaintOf, hopLimitExceeded, reassemblyTimeExceeded } from './icmp/complaints.ts'
import { Echo } from './icmp/echo.ts'
import { lastNextHeader } from './icmp/error-sender.ts'
import { IncomingError } from './icmp/incoming-errors.ts'
import { PacketHead } from './packet-head.ts'
import { Reassembly } from './reassembly.ts'
import type { Source } from './source.ts'
import type { StackContext } from './stack-context.ts'
import type { TcpFlows } from './tcp-flows.ts'
import type { UdpFlow } from './udp/udp-flow.ts'
import type { UdpFlows } from './udp/udp-flows.ts'

/**
 * The way of a packet that came out of the tunnel:
 *
 *     check -> destination ours? -> hop limit -> source -> fragments -> TCP | UDP | ICMP
 */
export class Receiver {
  readonly echo: Echo
  readonly reassembly: Reassembly
  readonly drops: DropCounters = new DropCounters()
  private readonly context: StackContext
  private readonly tcp: TcpFlows
  private readonly udp: UdpFlows
  private readonly head: PacketHead = new PacketHead()
  private readonly error: IncomingError = new IncomingError()

  constructor(context: StackContext, tcp: TcpFlows, udp: UdpFlows) {
    this.context = context
    this.tcp = tcp
    this.udp = udp
    this.echo = new Echo(context)
    const { config, counters, errors } = context
    this.reassembly = new Reassembly(config, counters, new KeyedHash(config.random), (source, first, now) => {
      const view = new DataView(first.buffer, first.byteOffset, first.length)
      errors.complain(source, reassemblyTimeExceeded, view, 0, first.length, now)
    })
  }

  handlePackets(batch: PacketBatch, now: number): void {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] !== Verdict.forward) continue
      const packets = batch.segments[slot]!
      this.context.counters.packetsIn += packets
      const reason = this.receive(batch, slot, now)
      if (reason === 0) batch.divert(slot)
      else {
        batch.drop(slot, reason)
        this.drops.add(reason, packets)
      }
    }
    this.tcp.finishBatch(now)
  }

  /** Takes one packet, or a super-packet. Returns 0, or why it is dropped. */
  private receive(batch: PacketBatch, slot: number, now: number): 0 | DropReason {
    const { head, context } = this
    const reason = head.readSlot(batch, slot)
    if (reason !== 0) return reason
    const isGateway = context.config.acceptAnyDestination
    const isOwn = context.isOwn(head.destination)
    // Nobody inside has an address of the stack.
    if (context.isOwn(head.source)) return DropReason.spoofedSource
    if (!isOwn && (!isGateway || isMartianDestination(head.destination))) return DropReason.deniedDestination
    const source = context.sources.findOrAdd(isGateway ? head.source : head.destination)
    if (!source) {
      context.counters.sourceLimitHits++
      return DropReason.quotaExceeded
    }
    if (isGateway && !isOwn && head.hopLimit <= 1) {
      context.errors.complain(source, hopLimitExceeded, head.view, head.offset, head.bytesHere, now)
      return DropReason.ttlExceeded
    }
    return head.isFragment ? this.reassemble(source, now) : this.deliver(source, now)
  }

  private reassemble(source: Source, now: number): 0 | DropReason {
    const packet = this.reassembly.add(this.head, source, now)
    if (!packet) return this.reassembly.reason
    const view = new DataView(packet.buffer)
    return this.head.read(packet, view, 0, packet.length) || this.deliver(source, now)
  }

  private deliver(source: Source, now: number): 0 | DropReason {
    const { head } = this
    switch (head.protocol) {
      case IpProtocol.tcp:
        return this.tcp.handlePacket(head, source, now)
      case IpProtocol.udp:
        return this.udp.handlePacket(head, source, now)
      case IpProtocol.icmp:
        return head.version === 4 ? this.handleIcmp(source, now) : DropReason.unsupportedProtocol
      case IpProtocol.icmpv6:
        return head.version === 6 ? this.handleIcmp(source, now) : DropReason.unsupportedProtocol
      default:
        return this.refuseProtocol(source, now)
    }
  }

  private refuseProtocol(source: Source, now: number): DropReason {
    const { view, offset, end, at, version, protocol } = this.head
    // "No next header" says that there is nothing to refuse (RFC 8200 §4.7).
    if (protocol !== IpProtocol.noNextHeader) {
      const pointer = version === 6 ? lastNextHeader(view, offset, at) : undefined
      const complaint = complaintOf['protocol-unreachable']!
      this.context.errors.complain(source, complaint, view, offset, end - offset, now, pointer)
    }
    return DropReason.unsupportedProtocol
  }

  private handleIcmp(source: Source, now: number): 0 | DropReason {
    const { head, context } = this
    const { view, at, version, protocol } = head
    if (!verifyTransportChecksum(view, head.offset, at, head.transportLength, protocol)) return DropReason.badChecksum
    const type = icmpType(view, at)
    const types = version === 4 ? IcmpType : Icmpv6Type
    if (type === types.echoRequest) return this.echo.handleRequest(head, source, now) ? 0 : DropReason.rateLimited
    if (type === types.echoReply) {
      if (context.config.acceptAnyDestination) return DropReason.noMapping
      return this.echo.handleReply(head, source, now) ? 0 : DropReason.rateLimited
    }
    if (version === 4 ? isIcmpError(type) : isIcmpv6Error(type)) return this.handleError(now)
    return DropReason.unsupportedProtocol
  }

  private handleError(now: number): 0 | DropReason {
    const { head, error, context } = this
    const isGateway = context.config.acceptAnyDestination
    context.counters.errorsReceived++
    if (error.read(head) && error.isFromPath(head, isGateway)) {
      const [inside, insidePort] = isGateway ? [error.remote, error.remotePort] : [error.local, error.localPort]
      const [outside, outsidePort] = isGateway ? [error.local, error.localPort] : [error.remote, error.remotePort]
      if (error.protocol === IpProtocol.tcp) {
        const flow = this.tcp.find(inside, insidePort, outside, outsidePort)
        if (flow) {
          this.tcp.handleError(flow, error, now)
          return 0
        }
      } else {
        const flow = this.udp.find(inside, insidePort)
        if (flow && !flow.isRequested) {
          this.tellUdp(flow, outside, outsidePort)
          return 0
        }
      }
    }
    context.counters.errorsIgnored++
    return DropReason.noMapping
  }

  private tellUdp(flow: UdpFlow, address: Int32Array, port: number): void {
    const { kind, mtu } = this.error
    const remote = { address: textOfWords(address), port }
    if (kind === 'packet-too-big') {
      flow.handlePathMtu(mtu)
      this.context.outputs.push({ type: 'icmp-error', flow: flow.id, kind, remote, mtu })
    } else this.context.outputs.push({ type: 'icmp-error', flow: flow.id, kind, remote })
  }
}
