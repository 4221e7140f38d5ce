// TCP, UDP and ICMP endpoints in user space, as one machine: no socket, no timer, no clock.
//
//              packets out of the tunnel                     packets into the tunnel
//                        |                                             ^
//                 handlePackets                                      drain
//                        v                                             |
//   Receiver: check -> fragments -> demux           DrainSchedule: sources in turn, flows of a source in turn
//                        |                                             ^
//        TcpFlows -> TcpFlow -> TcpConnection ------------------------>|
//        UdpFlows -> UdpFlow  --------------------- PacketWriter ----->|
//        Echo, IncomingError  --------------------- ErrorSender ------>|
//                        |
//          poll() v      ^ accept, refuse, write, read, sendDatagram, ...
//                   the shell
//
// Two roles. *Gateway* (`acceptAnyDestination`): whatever an inside host sends is surfaced as a flow, whoever its destination
// is, and the stack speaks in the destination's name. *Client*: the stack is a host with its own addresses; flows begin with
// `openTcp` and `bindUdp`, and what nobody asked for is refused as a host does.
//
// An *inside* address, a source, is a client's address in gateway mode and an own address in client mode. Limits, fairness and
// `removeSource` go by it. What the network sends is never thrown: it is dropped and counted.
import type { PacketBatch } from '@twinbore/core/packet'
import { isV4, textOfWords, wordsOfText } from './address-words.ts'
import type { NetStackStats } from './counters.ts'
import { choosePort } from './ephemeral-port.ts'
import { complaintOf } from './icmp/complaints.ts'
import { type NetStackOptions, netStackConfig } from './options.ts'
import type { EchoMessage, NetStackEndpoint, NetStackOutput, RefuseReason } from './outputs.ts'
import { Receiver } from './receiver.ts'
import type { Source } from './source.ts'
import { StackContext, type StackFlow } from './stack-context.ts'
import { TcpFlow } from './tcp-flow.ts'
import { TcpFlows } from './tcp-flows.ts'
import { UdpFlow } from './udp/udp-flow.ts'
import { UdpFlows } from './udp/udp-flows.ts'

/** What `openTcp` takes. */
export interface OpenTcpOptions {
  readonly remote: NetStackEndpoint
  /** Whose name the connection is opened in. Client mode: an own address. @defaultValue client mode: the first own address of the remote's family */
  readonly localAddress?: string
  /** @defaultValue a random free one of `ephemeralPorts` (RFC 6056 §3.3.2) */
  readonly localPort?: number
}

/** What `bindUdp` takes. */
export interface BindUdpOptions {
  /** An own address. */
  readonly address: string
  /** @defaultValue a random free one of `ephemeralPorts` */
  readonly port?: number
}

/**
 * TCP, UDP and ICMP endpoints in user space.
 *
 * @example
 * ```ts
 * stack.handlePackets(batch, now)
 * for (let output = stack.poll(); output; output = stack.poll()) {
 *   if (output.type === 'flow-requested') stack.accept(output.flow, now)
 *   if (output.type === 'flow-readable') stack.write(output.flow, stack.read(output.flow, now)!, now)
 *   if (output.type === 'flow-ended') stack.shutdown(output.flow, now)
 * }
 * batch.reset()
 * stack.drain(batch, now)
 * ```
 */
export class NetStack {
  private readonly context: StackContext
  private readonly tcp: TcpFlows
  private readonly udp: UdpFlows
  private readonly receiver: Receiver
  private largestMtu: number

  constructor(options: NetStackOptions) {
    this.context = new StackContext(netStackConfig(options))
    this.tcp = new TcpFlows(this.context)
    this.udp = new UdpFlows(this.context)
    this.receiver = new Receiver(this.context, this.tcp, this.udp)
    this.largestMtu = this.context.config.mtu
    if (!this.isGateway) {
      for (const address of this.context.ownAddresses) {
        this.context.sources.pin(this.context.sources.findOrAdd(address)!)
      }
    }
  }

  /**
   * Takes packets that came out of the tunnel. Every slot that is `forward` is consumed: it gets the verdict `divert`, or
   * `drop` with a reason. Whether a source is who it says is for the caller to check before. Super-packets of TCP, and TCP with
   * partial checksums, are welcome: what one flow sends in a batch is then handled as one segment (`coalescePackets`).
   */
  handlePackets(batch: PacketBatch, now: number): void {
    this.receiver.handlePackets(batch, now)
  }

  /**
   * Appends packets that go into the tunnel until the batch is full or nothing waits, and returns how many; those of
   * super-packets, see `NetStackOptions.superPackets`, count each for itself. Sources take turns, and so do the flows of a
   * source. Owners are left -1. Outputs may follow (`flow-writable`).
   *
   * @throws RangeError when the slots are shorter than the largest MTU
   */
  drain(batch: PacketBatch, now: number): number {
    if (batch.slotBytes < this.largestMtu) throw new RangeError(`slots must have at least ${this.largestMtu} bytes`)
    const added = this.context.schedule.drain(batch, now)
    this.context.counters.packetsOut += added
    return added
  }

  /** Whether `drain` may give super-packets. */
  get superPackets(): boolean {
    return this.context.config.superPackets
  }

  /** Whether `drain` has something to add. */
  get wantsToSend(): boolean {
    return !this.context.schedule.isEmpty
  }

  /** Takes the next output. Call until `undefined` after every input. */
  poll(): NetStackOutput | undefined {
    const output = this.context.outputs.take()
    if (output?.type === 'flow-closed') this.context.flows.forget(output.flow)
    return output
  }

  /** When `handleDeadline` wants to be called next. */
  get deadline(): number | undefined {
    const flows = this.context.timers.deadline
    const fragments = this.receiver.reassembly.deadline
    if (flows === undefined || fragments === undefined) return flows ?? fragments
    return Math.min(flows, fragments)
  }

  handleDeadline(now: number): void {
    this.receiver.reassembly.handleDeadline(now)
    const { timers, flows } = this.context
    const due: number[] = []
    for (let id = timers.takeExpired(now); id !== -1; id = timers.takeExpired(now)) due.push(id)
    for (const id of due) flows.get(id)?.handleDeadline(now)
  }

  /** Accepts a requested flow: TCP finishes the handshake, UDP surfaces the datagrams that wait. */
  accept(flow: number, now: number): void {
    const known = this.flow(flow)
    if (known instanceof TcpFlow ? known.isDialling : (known as UdpFlow).isRequested) {
      this.context.counters.flowsOpened++
      if (known instanceof TcpFlow) known.accept(now)
      else (known as UdpFlow).accept()
    }
  }

  /** Refuses a requested flow. `flow-reset` (`local`) and `flow-closed` follow. One that was answered before stays as it is. */
  refuse(flow: number, reason: RefuseReason, now: number): void {
    const known = this.flow(flow)
    if (known instanceof TcpFlow) {
      if (!known.isDialling) return
      known.refuse(reason, now)
    } else {
      const udp = known as UdpFlow
      if (!udp.isRequested) return
      udp.refuse(reason, now)
    }
    this.context.counters.flowsRefused++
  }

  /** Opens a connection. Returns its flow, or -1 when a limit is reached or no port is free. */
  openTcp(options: OpenTcpOptions, now: number): number {
    const remote = wordsOfText(options.remote.address, 'remote.address')
    const remotePort = port(options.remote.port, 'remote.port')
    const local = this.localAddress(options.localAddress, remote)
    const source = this.context.sources.findOrAdd(this.isGateway ? remote : local)
    if (!source) {
      this.context.counters.sourceLimitHits++
      return -1
    }
    const isFree = (candidate: number): boolean =>
      this.isGateway
        ? !this.tcp.find(remote, remotePort, local, candidate)
        : !this.tcp.find(local, candidate, remote, remotePort)
    const localPort = this.localPort(options.localPort, isFree)
    if (localPort === -1) return -1
    const flow = this.isGateway
      ? this.tcp.open(source, remotePort, local, localPort, now)
      : this.tcp.open(source, localPort, remote, remotePort, now)
    return flow?.id ?? -1
  }

  /** Client mode: takes a UDP port. Returns its flow, or -1 when a limit is reached or no port is free. */
  bindUdp(options: BindUdpOptions, _now: number): number {
    if (this.isGateway) throw new TypeError('bindUdp is for client mode: a gateway gets flow-requested')
    const address = this.ownAddress(options.address, 'address')
    const source = this.context.sources.find(address)
    if (!source) return -1
    const chosen = this.localPort(options.port, candidate => !this.udp.find(address, candidate))
    return chosen === -1 ? -1 : (this.udp.bind(source, chosen)?.id ?? -1)
  }

  /** The two ends of a flow. A UDP flow has only the inside one. */
  endpoints(flow: number): { readonly inside: NetStackEndpoint; readonly outside: NetStackEndpoint | undefined } {
    const known = this.flow(flow)
    const inside = { address: textOfWords(known.source.words), port: known.insidePort }
    if (!(known instanceof TcpFlow)) return { inside, outside: undefined }
    return { inside, outside: { address: textOfWords(known.outside), port: known.outsidePort } }
  }

  /** Queues bytes of a TCP flow, copies of them. Returns how many were taken; `flow-writable` follows when not all were. */
  write(flow: number, bytes: Uint8Array, now: number): number {
    const tcp = this.tcpFlow(flow)
    if (tcp.isOver) return 0
    const taken = tcp.connection.write(bytes, now)
    tcp.settle()
    return taken
  }

  /** Takes bytes that a TCP flow received in order, at most `maxBytes`; this opens the window. `undefined` when there are none. */
  read(flow: number, _now: number, maxBytes?: number): Uint8Array | undefined {
    const tcp = this.tcpFlow(flow)
    if (tcp.isOver) return undefined
    const bytes = tcp.connection.read(maxBytes)
    tcp.settle()
    return bytes
  }

  /** As `read`, into memory of the caller. Returns how many bytes it wrote. */
  readInto(flow: number, target: Uint8Array, _now: number): number {
    const tcp = this.tcpFlow(flow)
    if (tcp.isOver) return 0
    const count = tcp.connection.readInto(target)
    tcp.settle()
    return count
  }

  /** How many bytes `read` could give. */
  readableBytes(flow: number): number {
    const tcp = this.tcpFlow(flow)
    return tcp.isOver ? 0 : tcp.connection.readableBytes
  }

  /** How many bytes `write` would take, or of a UDP flow: bytes of datagrams that still fit its queue. */
  writableBytes(flow: number): number {
    const known = this.flow(flow)
    if (known instanceof TcpFlow) return known.isOver ? 0 : known.connection.writableBytes
    return (known as UdpFlow).room
  }

  /**
   * Sends a datagram of a UDP flow: gateway mode from `remote` to the inside endpoint, client mode from the bound endpoint
   * to `remote`. One that is longer than the MTU goes out in fragments. Returns false when it was dropped because the flow's
   * queue or the memory is full; `flow-writable` follows once half the queue is empty.
   *
   * @throws RangeError for more bytes than UDP can carry (65 507; IPv6: 65 527), an address that is none or of the other family
   */
  sendDatagram(flow: number, remote: NetStackEndpoint, bytes: Uint8Array, _now: number): boolean {
    const udp = this.udpFlow(flow)
    const address = this.remoteOf(udp, remote)
    if (bytes.length > (isV4(address) ? 65_507 : 65_527)) throw new RangeError('bytes must fit a datagram')
    return udp.send(address, port(remote.port, 'remote.port'), bytes)
  }

  /** Gateway mode: tells the sender that a datagram of a UDP flow to `remote` did not get there. The flow goes on. */
  refuseDatagram(flow: number, remote: NetStackEndpoint, reason: RefuseReason, now: number): void {
    if (!this.isGateway) throw new TypeError('refuseDatagram is for gateway mode')
    const udp = this.udpFlow(flow)
    const complaint = complaintOf[reason]
    if (complaint) udp.complain(complaint, this.remoteOf(udp, remote), port(remote.port, 'remote.port'), now)
  }

  /** Sends FIN behind what was written. Reading goes on. */
  shutdown(flow: number, now: number): void {
    const tcp = this.tcpFlow(flow)
    if (tcp.isOver) return
    tcp.connection.shutdown(now)
    tcp.settle()
  }

  /** Ends a flow at once: TCP with RST; UDP: the endpoint is free. `flow-reset` (`local`) and `flow-closed` follow. */
  abort(flow: number, now: number): void {
    const known = this.flow(flow)
    if (known instanceof UdpFlow) known.end('local')
    else if (known instanceof TcpFlow && !known.isOver) known.abort(now)
  }

  /** Sends the answer to an `echo-requested`: `message` is that output, or one with another payload. */
  echoReply(message: EchoMessage, _now: number): void {
    this.receiver.echo.send(message, true)
  }

  /** Tells the sender of an `echo-requested` that its host can't be reached. */
  refuseEcho(message: EchoMessage, reason: RefuseReason, now: number): void {
    this.receiver.echo.refuse(message, reason, now)
  }

  /** Client mode: pings. `source` is an own address. Answers are `echo-replied`; the caller keeps identifiers apart. */
  sendEcho(message: EchoMessage, _now: number): void {
    if (this.isGateway) throw new TypeError('sendEcho is for client mode')
    this.ownAddress(message.source, 'source')
    this.receiver.echo.send(message, false)
  }

  /**
   * Sets the longest packet of a source, 576 to 65535, or 1280 and up for IPv6 (RFC 8200 §5). Connections follow at once. A
   * source that was configured stays known until `removeSource`.
   */
  setMtu(address: string, mtu: number, now: number): void {
    const words = wordsOfText(address, 'address')
    const least = isV4(words) ? 576 : 1280
    if (!Number.isInteger(mtu) || mtu < least || mtu > 65_535) {
      throw new RangeError(`mtu must be an integer from ${least} to 65535`)
    }
    const source = this.context.sources.findOrAdd(words)
    if (!source) {
      this.context.counters.sourceLimitHits++
      return
    }
    this.context.sources.pin(source)
    source.mtu = mtu
    this.largestMtu = Math.max(this.largestMtu, mtu)
    for (const flow of tcpFlowsOf(source)) {
      flow.connection.handlePathMtu(mtu, undefined, now)
      flow.settle()
    }
  }

  /** Ends everything of an inside address without a packet: a session is over. Its flows say `flow-reset` (`source-removed`). */
  removeSource(address: string, now: number): void {
    const source = this.context.sources.find(wordsOfText(address, 'address'))
    if (!source) return
    this.receiver.reassembly.removeSource(source)
    for (const flow of [...source.flows]) {
      if (flow instanceof TcpFlow) flow.discard('source-removed', now)
      else (flow as UdpFlow).end('source-removed')
    }
    this.context.sources.remove(source)
  }

  /** Counters since creation, and what there is now. */
  stats(): NetStackStats {
    const { context, receiver, tcp, udp } = this
    return {
      ...context.counters,
      tcpFlows: tcp.count,
      udpFlows: udp.count,
      timeWait: tcp.timeWaitCount,
      dials: tcp.dials,
      sources: context.sources.size,
      bufferBytes: context.sources.memory.usedBytes,
      reassemblies: receiver.reassembly.size,
      reassemblyBytes: receiver.reassembly.heldBytes,
      drops: receiver.drops.snapshot(),
    }
  }

  /** Whether flows to any destination are surfaced. */
  get isGateway(): boolean {
    return this.context.config.acceptAnyDestination
  }

  private flow(id: number): StackFlow {
    const flow = this.context.flows.known(id)
    if (!flow) throw new RangeError('flow must be one that is not closed')
    return flow
  }

  private tcpFlow(id: number): TcpFlow {
    const flow = this.flow(id)
    if (!(flow instanceof TcpFlow)) throw new TypeError('flow must be a TCP flow')
    return flow
  }

  private udpFlow(id: number): UdpFlow {
    const flow = this.flow(id)
    if (!(flow instanceof UdpFlow)) throw new TypeError('flow must be a UDP flow')
    return flow
  }

  private remoteOf(flow: UdpFlow, remote: NetStackEndpoint): Int32Array {
    const address = wordsOfText(remote.address, 'remote.address')
    if (isV4(address) !== isV4(flow.source.words)) throw new RangeError("remote must be of the flow's family")
    return address
  }

  private ownAddress(text: string, name: string): Int32Array {
    const words = wordsOfText(text, name)
    if (!this.context.isOwn(words)) throw new RangeError(`${name} must be an own address`)
    return words
  }

  private localAddress(text: string | undefined, remote: Int32Array): Int32Array {
    if (text === undefined) {
      const own = !this.isGateway && this.context.ownAddresses.find(address => isV4(address) === isV4(remote))
      if (!own) throw new RangeError("localAddress is missing: there is no own address of the remote's family")
      return own
    }
    const words = this.isGateway ? wordsOfText(text, 'localAddress') : this.ownAddress(text, 'localAddress')
    if (isV4(words) !== isV4(remote)) throw new RangeError("localAddress must be of the remote's family")
    return words
  }

  private localPort(wanted: number | undefined, isFree: (port: number) => boolean): number {
    const { ephemeralPorts, random } = this.context.config
    const chosen =
      wanted === undefined ? choosePort(ephemeralPorts, random, isFree) : isFree(port(wanted, 'port')) ? wanted : -1
    if (chosen === -1) this.context.counters.portsExhausted++
    return chosen
  }
}

function tcpFlowsOf(source: Source): TcpFlow[] {
  return [...source.flows].filter(flow => flow instanceof TcpFlow)
}

function port(value: number, name: string): number {
  if (!Number.isInteger(value) || value < 1 || value > 65_535) throw new RangeError(`${name} must be from 1 to 65535`)
  return value
}
