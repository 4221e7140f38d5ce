import {
  DropReason,
  IpProtocol,
  UDP_HEADER_BYTES,
  udpDestinationPort,
  udpLength,
  udpSourcePort,
  verifyTransportChecksum,
} from '@twinbore/core/packet'
import { textOfWords } from '../address-words.ts'
import { complaintOf } from '../icmp/complaints.ts'
import type { PacketHead } from '../packet-head.ts'
import type { Source } from '../source.ts'
import type { StackContext } from '../stack-context.ts'
import { UdpFlow } from './udp-flow.ts'

const anywhere = new Int32Array(4)
/** What is kept of the packet that requested a flow: what an ICMP error carries. */
const triggerBytes = 548

/** Datagrams of both modes to their flows. */
export class UdpFlows {
  count = 0
  private readonly context: StackContext

  constructor(context: StackContext) {
    this.context = context
  }

  find(inside: Int32Array, port: number): UdpFlow | undefined {
    return this.context.flows.find(IpProtocol.udp, inside, port, anywhere, 0) as UdpFlow | undefined
  }

  /** Takes a datagram that came out of the tunnel. Returns 0, or why it was dropped. */
  handlePacket(head: PacketHead, source: Source, now: number): 0 | DropReason {
    const { view, at } = head
    const length = udpLength(view, at)
    if (!verifyTransportChecksum(view, head.offset, at, length, IpProtocol.udp)) return DropReason.badChecksum
    const from = udpSourcePort(view, at)
    const to = udpDestinationPort(view, at)
    const isGateway = this.context.config.acceptAnyDestination
    let flow = this.find(source.words, isGateway ? from : to)
    if (!flow) {
      if (!isGateway) {
        this.context.errors.complain(
          source,
          complaintOf['port-unreachable']!,
          view,
          head.offset,
          packetBytes(head),
          now,
        )
        return DropReason.noMapping
      }
      // Port 0 is nobody's: no answer could come back (RFC 8085 §5.1).
      if (from === 0 || to === 0) return DropReason.malformed
      flow = this.request(head, source, from, to, now)
      if (!flow) return DropReason.quotaExceeded
    }
    const payload = head.bytes.slice(at + UDP_HEADER_BYTES, at + length)
    if (!isGateway) return flow.receive(head.source, from, payload)
    flow.refresh(to, now)
    return flow.receive(head.destination, to, payload)
  }

  /** Client mode: takes a port. `undefined` when it is taken or a limit is reached. */
  bind(source: Source, port: number): UdpFlow | undefined {
    const { context } = this
    if (context.flows.isFull || source.udpFlows >= context.config.limits.maxUdpFlowsPerSource) {
      context.counters.flowLimitHits++
      return undefined
    }
    if (this.find(source.words, port)) return undefined
    context.counters.flowsOpened++
    return this.add(source, port, undefined)
  }

  private request(head: PacketHead, source: Source, from: number, to: number, now: number): UdpFlow | undefined {
    const { context } = this
    if (!context.admits(source, head, source.udpFlows, context.config.limits.maxUdpFlowsPerSource, now))
      return undefined
    const end = Math.min(head.end, head.offset + triggerBytes)
    const flow = this.add(source, from, head.bytes.slice(head.offset, end))
    context.counters.flowsRequested++
    context.outputs.push({
      type: 'flow-requested',
      flow: flow.id,
      protocol: 'udp',
      source: { address: textOfWords(source.words), port: from },
      destination: { address: textOfWords(head.destination), port: to },
    })
    return flow
  }

  private add(source: Source, port: number, trigger: Uint8Array | undefined): UdpFlow {
    const { context } = this
    const flow = new UdpFlow(context, context.flows.takeId(), source, port, trigger, () => {
      this.count--
    })
    context.flows.insert(flow)
    context.sources.addFlow(source, flow)
    source.udpFlows++
    this.count++
    return flow
  }
}

function packetBytes(head: PacketHead): number {
  return head.end - head.offset
}
