import { DropReason, IpProtocol, TcpFlag } from '@twinbore/core/packet'
import { bytesOfWords, textOfWords } from './address-words.ts'
import type { IncomingError } from './icmp/incoming-errors.ts'
import type { PacketHead } from './packet-head.ts'
import { initialSequences } from './sequence-source.ts'
import type { Source } from './source.ts'
import type { StackContext } from './stack-context.ts'
import { TcpSegment } from './tcp/segment.ts'
import { type TcpConfig, tcpConfig } from './tcp/tcp-config.ts'
import { TcpConnection } from './tcp/tcp-connection.ts'
import { TcpFlow, type TcpFlowOwner } from './tcp-flow.ts'

/** What is kept of a SYN's packet: what an ICMP error carries at most. */
const triggerBytes = 548
const opening = TcpFlag.syn
const openingMask = TcpFlag.syn | TcpFlag.ack | TcpFlag.rst | TcpFlag.fin

/** Segments to their connections, and connections for those that have none yet. */
export class TcpFlows implements TcpFlowOwner {
  /** Connections in the table, those in TIME-WAIT included. */
  count = 0
  dials = 0
  private readonly context: StackContext
  private readonly config: TcpConfig
  private readonly segment: TcpSegment = new TcpSegment()
  /** Flows with segments in the batch that is being handled. */
  private touched: TcpFlow[] = []
  /** The one that is there for longest comes first. */
  private readonly timeWait: Set<TcpFlow> = new Set()

  constructor(context: StackContext) {
    this.context = context
    const { config } = context
    this.config = tcpConfig({ ...config.tcp, initialSequences: initialSequences(config) }, config.superPackets)
  }

  get timeWaitCount(): number {
    return this.timeWait.size
  }

  /** Takes a segment that came out of the tunnel. Returns 0, or why it was dropped. */
  handlePacket(head: PacketHead, source: Source, now: number): 0 | DropReason {
    const { segment, context } = this
    const at = head.at - head.offset
    const reason = head.batch
      ? segment.readSlot(head.batch, head.slot, at)
      : segment.read(head.bytes, head.view, head.offset, head.end - head.offset, at)
    if (reason !== 0) return reason
    const isGateway = context.config.acceptAnyDestination
    const flow = isGateway
      ? this.find(source.words, segment.sourcePort, head.destination, segment.destinationPort)
      : this.find(source.words, segment.destinationPort, head.source, segment.sourcePort)
    if (flow && !this.isReplaced(flow, now)) {
      flow.connection.handleSegment(segment, now)
      this.touch(flow)
      return 0
    }
    if (segment.sourcePort === 0 || segment.destinationPort === 0) return DropReason.malformed
    if (isGateway && (segment.flags & openingMask) === opening) return this.request(head, source, now)
    context.errors.reset(source, segment, now)
    return DropReason.noMapping
  }

  /** A batch of packets ended: acknowledges, and tells what happened. */
  finishBatch(now: number): void {
    const { touched } = this
    this.touched = []
    for (const flow of touched) {
      flow.isTouched = false
      flow.connection.handleBatchEnd(now)
      flow.settle()
    }
  }

  /** Opens a connection between an inside and an outside end. `undefined` when a limit is reached or the ends are taken. */
  open(source: Source, insidePort: number, outside: Int32Array, outsidePort: number, now: number): TcpFlow | undefined {
    const { context } = this
    if (context.flows.isFull || source.tcpFlows >= context.config.limits.maxTcpFlowsPerSource) {
      context.counters.flowLimitHits++
      return undefined
    }
    const inTheWay = this.find(source.words, insidePort, outside, outsidePort)
    if (inTheWay) return undefined
    const insideEnd = { address: bytesOfWords(source.words), port: insidePort }
    const outsideEnd = { address: bytesOfWords(outside), port: outsidePort }
    const isGateway = context.config.acceptAnyDestination
    const local = isGateway ? outsideEnd : insideEnd
    const remote = isGateway ? insideEnd : outsideEnd
    const connection = TcpConnection.open(this.config, source.path, local, remote, now)
    context.counters.flowsOpened++
    const flow = this.add(source, insidePort, outside, outsidePort, undefined, connection, now)
    flow.settle()
    return flow
  }

  find(inside: Int32Array, insidePort: number, outside: Int32Array, outsidePort: number): TcpFlow | undefined {
    return this.context.flows.find(IpProtocol.tcp, inside, insidePort, outside, outsidePort) as TcpFlow | undefined
  }

  /** An ICMP error came about a segment of a flow. */
  handleError(flow: TcpFlow, error: IncomingError, now: number): void {
    const { connection } = flow
    switch (error.kind) {
      case 'packet-too-big':
        connection.handlePathMtu(error.mtu, error.sequenceNumber, now)
        break
      case 'protocol-unreachable':
        // To a connection it is the same: nobody listens (RFC 9293 §3.9.2.2).
        connection.handleIcmpError('port-unreachable', error.sequenceNumber, now)
        break
      case 'time-exceeded':
      case 'parameter-problem':
        // Soft errors that no connection acts upon.
        break
      default:
        connection.handleIcmpError(error.kind, error.sequenceNumber, now)
    }
    flow.settle()
  }

  dialEnded(flow: TcpFlow): void {
    this.dials--
    flow.source.dials--
  }

  timeWaitBegan(flow: TcpFlow): void {
    if (this.timeWait.has(flow)) return
    this.timeWait.add(flow)
    if (this.timeWait.size <= this.context.config.limits.maxTimeWait) return
    const [oldest] = this.timeWait
    this.context.counters.timeWaitEvicted++
    oldest!.leave()
  }

  flowLeft(flow: TcpFlow): void {
    this.timeWait.delete(flow)
    this.count--
  }

  /**
   * Whether a SYN takes the place of a connection: one in TIME-WAIT (RFC 9293 §3.10.7.4, RFC 6191), whether the shell has
   * read all of it or not, one that is over but for its RST, or a request whose sender gave up and begins again.
   */
  private isReplaced(flow: TcpFlow, now: number): boolean {
    if (!flow.connection.isReplacedBy(this.segment, now)) return false
    if (flow.isDialling) flow.discard('peer', now)
    else {
      this.context.counters.timeWaitReused++
      flow.giveWay()
    }
    return true
  }

  private request(head: PacketHead, source: Source, now: number): 0 | DropReason {
    const { context, segment } = this
    const { limits } = context.config
    if (source.dials >= limits.maxDialsPerSource || this.dials >= limits.maxDials) {
      context.counters.dialLimitHits++
      return DropReason.quotaExceeded
    }
    if (!context.admits(source, head, source.tcpFlows, limits.maxTcpFlowsPerSource, now)) {
      return DropReason.quotaExceeded
    }
    const connection = TcpConnection.accept(this.config, source.path, segment, now)
    const { sourcePort, destinationPort } = segment
    const trigger = head.bytes.slice(head.offset, Math.min(head.end, head.offset + triggerBytes))
    const outside = head.destination.slice()
    const flow = this.add(source, sourcePort, outside, destinationPort, trigger, connection, now)
    source.dials++
    this.dials++
    context.counters.flowsRequested++
    context.outputs.push({
      type: 'flow-requested',
      flow: flow.id,
      protocol: 'tcp',
      source: { address: textOfWords(source.words), port: sourcePort },
      destination: { address: textOfWords(outside), port: destinationPort },
    })
    this.touch(flow)
    return 0
  }

  private add(
    source: Source,
    insidePort: number,
    outside: Int32Array,
    outsidePort: number,
    trigger: Uint8Array | undefined,
    connection: TcpConnection,
    now: number,
  ): TcpFlow {
    const { context } = this
    const place = { id: context.flows.takeId(), source, insidePort, outside, outsidePort, trigger }
    const flow = new TcpFlow(context, this, place, connection, now)
    context.flows.insert(flow)
    context.sources.addFlow(source, flow)
    source.tcpFlows++
    this.count++
    return flow
  }

  private touch(flow: TcpFlow): void {
    if (flow.isTouched) return
    flow.isTouched = true
    this.touched.push(flow)
  }
}
