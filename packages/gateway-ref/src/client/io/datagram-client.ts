import type { DatagramLoss, DatagramOffer } from '@twinbore/core'
import { type Driver, drive } from '@twinbore/core/io'
import { DropReason, type PacketBatch, Verdict } from '@twinbore/core/packet'
import type { Clock, Milliseconds, Random } from '@twinbore/core/runtime'
import { type AssociationOutput, DtlsAssociation, type Negotiated } from '@twinbore/dtls'
import { systemCrypto } from '@twinbore/dtls/io'
import type { DatagramSocket } from '@twinbore/tun'
import type { DatagramPath } from '../../data-plane/tunnel-side.ts'
import { CLIENT_ASSOCIATION } from '../client-data-plane.ts'
import type { DatagramSocketFactory } from '../client-options.ts'

export interface DatagramClientOptions {
  readonly offer: DatagramOffer
  /** Address of the gateway: that of its TCP side. */
  readonly address: string
  readonly pskKey: Uint8Array
  readonly openSocket: DatagramSocketFactory
  readonly clock: Clock
  readonly random: Random
}

export interface DatagramClientHandlers {
  onEstablished(negotiated: Negotiated): void
  /** Once, unless `close` was called. */
  onClosed(loss: DatagramLoss): void
  /** The system refused a record with so many bytes of plaintext as too long for the path. */
  onTooBig(payloadBytes: number): void
}

/** An attempt that takes longer goes on in vain: the next one follows by the session's own timers. */
const HANDSHAKE_TIMEOUT_MS = 12_000
const RETRANSMIT_TIMEOUT_MS = 400
/** What a record adds to its plaintext, until it is known: the most of all cipher suites. */
const MOST_OVERHEAD = 37

/** One attempt at a datagram channel, with a UDP socket of its own, and the channel that comes of it. */
export class DatagramClient {
  readonly path: DatagramPath
  private readonly association: DtlsAssociation
  private readonly driver: Driver
  private readonly socket: DatagramSocket
  private readonly gateway: number
  private handlers: DatagramClientHandlers | undefined
  private overhead = MOST_OVERHEAD
  private closed = false

  private constructor(socket: DatagramSocket, options: DatagramClientOptions) {
    this.socket = socket
    this.gateway = socket.endpoints.intern(options.address, options.offer.port)
    socket.endpoints.retain(this.gateway)
    this.association = new DtlsAssociation({
      role: 'client',
      crypto: systemCrypto,
      random: options.random,
      psk: { identity: 'psk', key: options.pskKey },
      sessionId: options.offer.appId,
      retransmitTimeoutMs: RETRANSMIT_TIMEOUT_MS,
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
    })
    this.path = {
      socket,
      records: {
        openDatagrams: (batch, now) => this.openDatagrams(batch, now),
        sealDatagrams: (batch, now) => this.sealDatagrams(batch, now),
      },
    }
    socket.onSendError = ({ code, length }) => {
      if (code === 'EMSGSIZE') this.handlers?.onTooBig(length - this.overhead)
      // The gateway's host says that nobody listens: no need to wait for the time-out.
      else if (code === 'ECONNREFUSED') this.lose('unreachable')
    }
    this.driver = drive(this.association, { clock: options.clock, onOutput: output => this.handle(output) })
  }

  /** Opens the socket; nothing is sent before `start`. @throws TunError */
  static async open(options: DatagramClientOptions): Promise<DatagramClient> {
    const address = options.address.includes(':') ? '::' : '0.0.0.0'
    const socket = await options.openSocket({ address, port: 0 })
    try {
      return new DatagramClient(socket, options)
    } catch (error) {
      socket.close()
      throw error
    }
  }

  /** Begins the handshake. */
  start(handlers: DatagramClientHandlers): void {
    this.handlers = handlers
    this.driver.input(now => this.association.start(now))
  }

  /** Hands on what the last batch left: call it after each. */
  settle(): void {
    this.driver.settle()
  }

  /** Says goodbye and closes the socket. `onClosed` is not called. */
  close(): void {
    if (this.closed) return
    this.closed = true
    this.driver.input(now => this.association.close(now))
    this.driver.stop()
    this.socket.close()
  }

  /** Whoever else sends to this socket is not heard. */
  private openDatagrams(batch: PacketBatch, now: Milliseconds): void {
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.owners[slot] !== this.gateway) batch.drop(slot, DropReason.unknownPeer)
    }
    this.association.openDatagrams(batch, now)
    for (let slot = 0; slot < batch.count; slot++) batch.owners[slot] = CLIENT_ASSOCIATION
  }

  private sealDatagrams(batch: PacketBatch, now: Milliseconds): void {
    this.association.sealDatagrams(batch, now)
    for (let slot = 0; slot < batch.count; slot++) {
      if (batch.verdicts[slot] === Verdict.forward) batch.owners[slot] = this.gateway
    }
  }

  private handle(output: AssociationOutput): void {
    switch (output.type) {
      case 'transmit':
        this.socket.sendTo(this.gateway, output.bytes)
        break
      case 'established':
        this.overhead = output.overhead
        this.handlers?.onEstablished(output)
        break
      case 'closed':
        this.lose(
          output.reason === 'peer' || output.reason === 'peer-alert'
            ? 'closed-by-peer'
            : output.error?.code === 'ERR_DTLS_HANDSHAKE_TIMEOUT'
              ? 'handshake-timeout'
              : 'handshake-failed',
        )
        break
      case 'received':
      case 'key-limit-near':
        break
    }
  }

  private lose(loss: DatagramLoss): void {
    if (this.closed) return
    this.closed = true
    this.driver.stop()
    this.socket.close()
    this.handlers?.onClosed(loss)
  }
}
