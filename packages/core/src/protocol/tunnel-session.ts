import type { Machine, Milliseconds } from '../runtime/index.ts'
import type { ActiveChannel, ChannelKind, CloseReason, DatagramLoss, SessionStats, StreamLoss } from './events.ts'
import type { TunnelParameters } from './tunnel-parameters.ts'

/**
 * A session as the shell and the data plane see it, in either role. Machines of this shape: `GatewaySession`,
 * `ClientSession`.
 *
 * The data plane asks `activeChannel` for every packet it sends (a plain field read), and tells what passed once per
 * batch with `noteReceived` and `noteSent`. Everything rare goes through the other methods. Inputs that come after
 * `closed` are ignored.
 */
export interface TunnelSession<Output> extends Machine<Output> {
  /** Where data goes now. With `none`, packets are dropped or kept by the caller. */
  readonly activeChannel: ActiveChannel
  /** The longest packet of the tunnel now, in bytes. */
  readonly mtu: number
  readonly closed: boolean

  /** A stream connection is through CONNECT and belongs to this session; it replaces the one before, which the caller closes. */
  streamAttached(parameters: TunnelParameters, now: Milliseconds): void
  /** The attached stream connection is gone. Not for connections that were replaced. */
  streamClosed(loss: StreamLoss, now: Milliseconds): void
  /** A control frame of the stream. */
  handleStreamFrame(type: number, payload: Uint8Array, now: Milliseconds): void

  /** A datagram association of this session is established; it replaces the one before. `maxPayload` is the longest plaintext of one record. */
  datagramOpened(maxPayload: number, now: Milliseconds): void
  /** The newest association, which was established, is gone. Not for associations that were replaced. */
  datagramClosed(loss: DatagramLoss, now: Milliseconds): void
  /** An authenticated control frame of the datagram channel. */
  handleDatagramFrame(type: number, payload: Uint8Array, now: Milliseconds): void
  /** The operating system refused a datagram with so many bytes of plaintext as too long for the path (EMSGSIZE). */
  handleMessageTooBig(payloadBytes: number, now: Milliseconds): void

  /** Data packets came in on a channel: once per batch. `bytes` counts IP packets. */
  noteReceived(channel: ChannelKind, packets: number, bytes: number, now: Milliseconds): void
  /** Data packets went out on a channel: once per batch. */
  noteSent(channel: ChannelKind, packets: number, bytes: number, now: Milliseconds): void

  /** Ends the session: the peer is told, channels are closed, `closed` follows. */
  disconnect(reason: CloseReason, now: Milliseconds): void
  stats(): SessionStats
}
