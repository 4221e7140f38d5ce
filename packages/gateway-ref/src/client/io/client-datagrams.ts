import type { DatagramLoss, DatagramOffer } from '@twinbore/core'
import { systemClock, systemRandom } from '@twinbore/core/io'
import type { Negotiated } from '@twinbore/dtls'
import type { DatagramPath } from '../../data-plane/tunnel-side.ts'
import { pumpWhileReadable } from '../../io/pump.ts'
import type { Logger } from '../../log/logger.ts'
import type { DatagramSocketFactory } from '../client-options.ts'
import { LINK_MTU } from '../tunnel-request.ts'
import { DatagramClient } from './datagram-client.ts'

/** Whom the datagram channels of a client tell. */
export interface ClientDatagramsHandlers {
  /** A channel is up and takes over from the one before; plaintexts may have so many bytes. */
  onOpened(path: DatagramPath, maxPayload: number): void
  /** The channel in use is gone. */
  onClosed(loss: DatagramLoss): void
  /** An attempt failed. A channel in use goes on. */
  onFailed(loss: DatagramLoss): void
  /** The system refused a record with so many bytes of plaintext as too long for the path. */
  onTooBig(payloadBytes: number): void
  /** Datagrams wait: takes one batch, returns whether the socket was drained. */
  pump(path: DatagramPath): boolean
  /** Follows the last batch of a turn. */
  settle(): void
}

export interface DatagramTarget {
  readonly offer: DatagramOffer
  /** Address of the gateway: that of its TCP side. */
  readonly address: string
  readonly pskKey: Uint8Array
}

/** The datagram channel in use, and the attempt that may replace it; never more than these two. */
export class ClientDatagrams {
  private readonly handlers: ClientDatagramsHandlers
  private readonly openSocket: DatagramSocketFactory
  private readonly log: Logger
  private current: DatagramClient | undefined
  private attempt: DatagramClient | undefined
  /** Counts calls: an `open` that was overtaken while its socket was being made gives up. */
  private turn = 0

  constructor(handlers: ClientDatagramsHandlers, openSocket: DatagramSocketFactory, log: Logger) {
    this.handlers = handlers
    this.openSocket = openSocket
    this.log = log
  }

  /** Begins an attempt in place of the one under way. */
  async open(target: DatagramTarget): Promise<void> {
    const turn = ++this.turn
    this.attempt?.close()
    this.attempt = undefined
    let client: DatagramClient
    try {
      const { openSocket } = this
      client = await DatagramClient.open({ ...target, openSocket, clock: systemClock, random: systemRandom })
    } catch (error) {
      if (turn !== this.turn) return
      this.log.warn('no UDP socket', { reason: String(error) })
      this.handlers.onFailed('error')
      return
    }
    if (turn !== this.turn) {
      client.close()
      return
    }
    this.attempt = client
    pumpWhileReadable(
      client.path.socket,
      () => this.handlers.pump(client.path),
      () => {
        this.handlers.settle()
        client.settle()
      },
    )
    client.start({
      onEstablished: negotiated => this.establish(client, negotiated, target.address),
      onClosed: loss => this.lose(client, loss),
      onTooBig: payloadBytes => this.handlers.onTooBig(payloadBytes),
    })
  }

  /** Closes the channel and gives the attempt up. Nobody is told. */
  close(): void {
    this.turn++
    this.current?.close()
    this.attempt?.close()
    this.current = undefined
    this.attempt = undefined
  }

  private establish(
    client: DatagramClient,
    { cipherSuite, overhead, maxPlaintextBytes }: Negotiated,
    address: string,
  ): void {
    const previous = this.current
    this.current = client
    this.attempt = undefined
    this.log.info('datagram channel established', { cipher: cipherSuite })
    const fitting = LINK_MTU - (address.includes(':') ? 40 : 20) - 8 - overhead
    this.handlers.onOpened(client.path, Math.min(maxPlaintextBytes, fitting))
    previous?.close()
  }

  private lose(client: DatagramClient, loss: DatagramLoss): void {
    this.log.debug('datagram channel lost', { reason: loss })
    if (client === this.current) {
      this.current = undefined
      this.handlers.onClosed(loss)
    } else if (client === this.attempt) {
      this.attempt = undefined
      this.handlers.onFailed(loss)
    }
  }
}
