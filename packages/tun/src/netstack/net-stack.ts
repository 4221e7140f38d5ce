import type { PacketBatch } from '@twinbore/core/packet'
import type { NetStackOptions } from './options.ts'
import { netStackConfig } from './options.ts'
import type { EchoMessage, NetStackEndpoint, NetStackOutput, RefuseReason } from './outputs.ts'

/** What `openTcp` takes. */
export interface OpenTcpOptions {
  readonly remote: NetStackEndpoint
  /** An own address; client mode has a default: the first one of the remote's family. */
  readonly localAddress?: string
  /** @defaultValue a random free one of `ephemeralPorts` (RFC 6056) */
  readonly localPort?: number
}

/** What `bindUdp` takes. */
export interface BindUdpOptions {
  readonly address: string
  /** @defaultValue a random free one of `ephemeralPorts` (RFC 6056) */
  readonly port?: number
}

/** TCP, UDP and ICMP endpoints in user space. */
export class NetStack {
  constructor(options: NetStackOptions) {
    netStackConfig(options)
  }

  /**
   * Takes packets that came out of the tunnel. Every slot that is `forward` is consumed: it gets the verdict `divert`, or
   * `drop` with a reason.
   */
  handlePackets(_batch: PacketBatch, _now: number): void {
    throw notYet
  }

  /**
   * Appends packets that go into the tunnel until the batch is full or nothing waits, and returns how many. Sources take
   * turns, and so do the flows of a source. Owners are left -1.
   */
  drain(_batch: PacketBatch, _now: number): number {
    throw notYet
  }

  /** Whether `drain` would add a packet. */
  get wantsToSend(): boolean {
    throw notYet
  }

  poll(): NetStackOutput | undefined {
    throw notYet
  }

  get deadline(): number | undefined {
    throw notYet
  }

  handleDeadline(_now: number): void {
    throw notYet
  }

  /** Accepts a requested flow: TCP finishes the handshake, UDP surfaces the datagrams that wait. */
  accept(_flow: number, _now: number): void {
    throw notYet
  }

  /** Refuses a requested flow. `flow-reset` (`local`) and `flow-closed` follow. */
  refuse(_flow: number, _reason: RefuseReason, _now: number): void {
    throw notYet
  }

  /** Opens a connection. Returns its flow, or -1 when a limit is reached or no port is free. */
  openTcp(_options: OpenTcpOptions, _now: number): number {
    throw notYet
  }

  /** Client mode: takes a UDP port. Returns its flow, or -1 when a limit is reached or the port is taken. */
  bindUdp(_options: BindUdpOptions, _now: number): number {
    throw notYet
  }

  /** The local and the remote end of a flow. A UDP flow has only one, the inside endpoint. */
  endpoints(_flow: number): { readonly local: NetStackEndpoint; readonly remote: NetStackEndpoint | undefined } {
    throw notYet
  }

  /** Queues bytes of a TCP flow, copies of them. Returns how many were taken; `flow-writable` follows when not all were. */
  write(_flow: number, _bytes: Uint8Array, _now: number): number {
    throw notYet
  }

  /** Takes bytes that a TCP flow received in order; this opens the window. `undefined` when there are none. */
  read(_flow: number, _now: number, _maxBytes?: number): Uint8Array | undefined {
    throw notYet
  }

  /** How many bytes `read` could give. */
  readableBytes(_flow: number): number {
    throw notYet
  }

  /** How many bytes `write` would take. */
  writableBytes(_flow: number): number {
    throw notYet
  }

  /**
   * Sends a datagram of a UDP flow: gateway mode from `remote` to the inside endpoint, client mode from the bound endpoint
   * to `remote`. One that is longer than the MTU is fragmented. Returns false when it was dropped because the flow's queue is
   * full; `flow-writable` follows.
   */
  sendDatagram(_flow: number, _remote: NetStackEndpoint, _bytes: Uint8Array, _now: number): boolean {
    throw notYet
  }

  /** Gateway mode: tells the sender that a datagram of a UDP flow to `remote` did not get there. The flow goes on. */
  refuseDatagram(_flow: number, _remote: NetStackEndpoint, _reason: RefuseReason, _now: number): void {
    throw notYet
  }

  /** Sends FIN behind what was written. Reading goes on. */
  shutdown(_flow: number, _now: number): void {
    throw notYet
  }

  /** Ends a flow at once: TCP with RST. UDP: the endpoint is free. `flow-reset` (`local`) and `flow-closed` follow. */
  abort(_flow: number, _now: number): void {
    throw notYet
  }

  /** Sends the answer to an `echo-requested`: `message` is that output, or one with another payload. */
  echoReply(_message: EchoMessage, _now: number): void {
    throw notYet
  }

  /** Tells the sender of an `echo-requested` that the host can't be reached. */
  refuseEcho(_message: EchoMessage, _reason: RefuseReason, _now: number): void {
    throw notYet
  }

  /** Client mode: pings. `source` is an own address. Replies are `echo-replied`; identifiers are the caller's to keep apart. */
  sendEcho(_message: EchoMessage, _now: number): void {
    throw notYet
  }

  /** Sets the longest packet of a source, 576 to 65535. Connections use it for what they send from now on. */
  setMtu(_address: string, _mtu: number, _now: number): void {
    throw notYet
  }

  /** Ends everything of an inside address, without a packet: a session is over. Its flows say `flow-reset` (`source-removed`). */
  removeSource(_address: string, _now: number): void {
    throw notYet
  }
}

const notYet = new Error('not implemented')
