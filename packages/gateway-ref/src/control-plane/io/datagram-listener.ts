import type { DatagramLoss } from '@twinbore/core'
import { type Driver, drive } from '@twinbore/core/io'
import type { Clock, Random } from '@twinbore/core/runtime'
import { type CloseReason, DtlsServer, type ServerOutput } from '@twinbore/dtls'
import { systemCrypto } from '@twinbore/dtls/io'
import type { DatagramSocket } from '@twinbore/tun'
import type { DatagramPath } from '../../data-plane/tunnel-side.ts'
import type { Logger } from '../../log/logger.ts'

/** Whom the DTLS side of a gateway asks and tells; `SessionHost` fits. */
export interface AssociationHost {
  findPsk(appId: Uint8Array): Uint8Array | undefined
  knowsAppId(appId: Uint8Array): boolean
  attachAssociation(association: number, appId: Uint8Array, overhead: number, maxPlaintextBytes: number): void
  detachAssociation(association: number, loss: DatagramLoss): void
  handleDatagramTooBig(association: number, payloadBytes: number): void
}

export interface DatagramListenerOptions {
  readonly socket: DatagramSocket
  readonly host: AssociationHost
  readonly clock: Clock
  readonly random: Random
  readonly log: Logger
  readonly maxAssociations: number
}

/** A handshake of a stock client is given up by it after 12 s. */
const HANDSHAKE_TIMEOUT_MS = 20_000
const RETRANSMIT_TIMEOUT_MS = 400

/** The gateway's UDP port: DTLS with keys of the TLS channel. Records are opened and sealed by the data plane, through `path`. */
export class DatagramListener {
  readonly path: DatagramPath
  private readonly server: DtlsServer
  private readonly options: DatagramListenerOptions
  private readonly driver: Driver
  /** Who is at an endpoint, and what a record adds to its plaintext there. */
  private readonly peers = new Map<number, { readonly association: number; readonly overhead: number }>()

  constructor(options: DatagramListenerOptions) {
    this.options = options
    const { socket, host, clock } = options
    this.server = new DtlsServer({
      crypto: systemCrypto,
      random: options.random,
      findPsk: appId => host.findPsk(appId),
      knowsSession: appId => host.knowsAppId(appId),
      retransmitTimeoutMs: RETRANSMIT_TIMEOUT_MS,
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      maxAssociations: options.maxAssociations,
      hostOf: endpoint => socket.endpoints.addressOf(endpoint),
      portOf: endpoint => socket.endpoints.portOf(endpoint),
      retainEndpoint: endpoint => socket.endpoints.retain(endpoint),
      releaseEndpoint: endpoint => socket.endpoints.release(endpoint),
    })
    this.driver = drive(this.server, { clock, onOutput: output => this.handleOutput(output) })
    this.path = { socket, records: this.server }
  }

  /** Hands on what the last batch left: call it after each. */
  settle(): void {
    this.driver.settle()
  }

  closeAssociation(association: number): void {
    this.driver.input(now => this.server.close(association, now))
  }

  /** The system refused a datagram of so many bytes as too long for the path to an endpoint. */
  handleTooBig(endpoint: number, bytes: number): void {
    const peer = this.peers.get(endpoint)
    if (peer) this.options.host.handleDatagramTooBig(peer.association, bytes - peer.overhead)
  }

  stats(): ReturnType<DtlsServer['stats']> {
    return this.server.stats()
  }

  stop(): void {
    this.driver.stop()
  }

  private handleOutput(output: ServerOutput): void {
    const { socket, host, log } = this.options
    switch (output.type) {
      case 'transmit':
        socket.sendTo(output.endpoint, output.bytes)
        break
      case 'established':
        this.peers.set(output.endpoint, { association: output.association, overhead: output.overhead })
        host.attachAssociation(output.association, output.sessionId, output.overhead, output.maxPlaintextBytes)
        break
      case 'closed':
        for (const [endpoint, { association }] of this.peers) {
          if (association === output.association) this.peers.delete(endpoint)
        }
        host.detachAssociation(output.association, lossOf(output.reason))
        break
      case 'endpoint-changed': {
        const peer = this.peers.get(output.from)
        // Somebody else may be there by now.
        if (peer?.association === output.association) {
          this.peers.delete(output.from)
          this.peers.set(output.to, peer)
        }
        log.info('datagram channel follows its client to another address', {
          from: socket.endpoints.addressOf(output.from),
          to: socket.endpoints.addressOf(output.to),
        })
        break
      }
      case 'handshake-failed':
        log.debug('datagram handshake failed', {
          remote: socket.endpoints.addressOf(output.endpoint),
          reason: output.error.code,
        })
        break
      // The client renews its keys with a new tunnel long before; should it not, the association ends by itself.
      case 'key-limit-near':
      case 'received':
        break
    }
  }
}

function lossOf(reason: CloseReason): DatagramLoss {
  return reason === 'peer' ? 'closed-by-peer' : reason === 'handshake-failed' ? 'handshake-failed' : 'error'
}
