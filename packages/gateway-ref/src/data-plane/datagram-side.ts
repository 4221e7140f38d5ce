import type { DatagramLoss } from '@twinbore/core'
import type { PacketBatch, PacketBatchOptions } from '@twinbore/core/packet'
import type { Milliseconds, OutputQueue, Random } from '@twinbore/core/runtime'
import { type CloseReason, type CryptoProvider, DtlsServer, type DtlsStats } from '@twinbore/dtls'
import type { DatagramSocket } from '@twinbore/tun'
import type { PlaneCommand } from './commands.ts'
import type { PlaneEvent } from './events.ts'
import { RoamingClients } from './mesh/roaming-clients.ts'
import type { WorkerMesh } from './mesh/worker-mesh.ts'
import { Permits } from './permits.ts'
import type { SessionTable } from './session-table.ts'
import type { DatagramPath } from './tunnel-side.ts'

export interface DatagramSideOptions {
  readonly socket: DatagramSocket
  readonly sessions: SessionTable
  readonly events: OutputQueue<PlaneEvent>
  readonly crypto: CryptoProvider
  readonly random: Random
  readonly maxAssociations: number
  /**
   * Where sequence numbers are noted, `sequenceCells(maxAssociations)` numbers, in memory that outlives this thread; with it,
   * events of new associations carry what a successor needs.
   */
  readonly sequences?: Float64Array | undefined
  /** The other workers of the data plane, which hear whose associations are here. @defaultValue none */
  readonly mesh?: WorkerMesh | undefined
  /** `slotBytes` for the longest packet of a tunnel, for datagrams that others hand over. */
  readonly batch?: PacketBatchOptions
}

export function sequenceCells(maxAssociations: number): number {
  return maxAssociations * 4
}

/** A handshake of a stock client is given up by it after 12 s. */
const HANDSHAKE_TIMEOUT_MS = 20_000
const RETRANSMIT_TIMEOUT_MS = 400

/**
 * The DTLS half of a data plane: handshakes with keys of the TLS channel, and which association is whose. Records are
 * opened and sealed through `path`.
 */
export class DatagramSide {
  readonly path: DatagramPath
  readonly permits: Permits = new Permits()
  private readonly server: DtlsServer
  /** Clients that several workers hear, one after the other. */
  readonly roaming: RoamingClients | undefined
  private readonly options: DatagramSideOptions
  /** Who is at an endpoint, and what a record adds to its plaintext there. */
  private readonly peers = new Map<number, { readonly association: number; readonly overhead: number }>()
  private readonly endpoints = new Map<number, number>()

  constructor(options: DatagramSideOptions) {
    this.options = options
    const { socket, sessions, crypto, random, maxAssociations, sequences, mesh, batch = {} } = options
    this.server = new DtlsServer({
      crypto,
      random,
      findPsk: appId => this.permits.find(appId)?.key,
      knowsSession: appId => this.permits.find(appId) !== undefined,
      retransmitTimeoutMs: RETRANSMIT_TIMEOUT_MS,
      handshakeTimeoutMs: HANDSHAKE_TIMEOUT_MS,
      maxAssociations,
      ...(sequences && { sequences }),
      hostOf: endpoint => socket.endpoints.addressOf(endpoint),
      portOf: endpoint => socket.endpoints.portOf(endpoint),
      retainEndpoint: endpoint => socket.endpoints.retain(endpoint),
      releaseEndpoint: endpoint => socket.endpoints.release(endpoint),
      // What it opens are batches of packets.
      ...(mesh && { takeUnknown: (batch, slot) => this.roaming!.takeUnknown(batch as PacketBatch, slot) }),
    })
    const { endpoints } = socket
    const hasPeerAt = (endpoint: number) => this.peers.has(endpoint)
    this.roaming = mesh && new RoamingClients({ mesh, endpoints, sessions, records: this.server, hasPeerAt, batch })
    this.path = { socket, records: this.server, relay: this.roaming }
    socket.onSendError = ({ endpoint, code, length }) => {
      if (code === 'EMSGSIZE') this.handleTooBig(endpoint, length)
    }
  }

  get deadline(): Milliseconds | undefined {
    return this.server.deadline
  }

  handleDeadline(now: Milliseconds): void {
    this.server.handleDeadline(now)
    this.settle(now)
  }

  /** Goes on with an association of a data plane that is gone. */
  install(command: PlaneCommand & { readonly type: 'install-association' }, now: Milliseconds): void {
    const { socket, sessions, events, sequences, mesh } = this.options
    const { session, snapshot } = command
    // What ended last may not have been told any more.
    const hasEnded = sequences?.[2 * snapshot.association] === 0
    const endpoint = hasEnded ? -1 : socket.endpoints.intern(command.address, command.port)
    const association = endpoint === -1 ? -1 : this.server.installAssociation(snapshot, endpoint, now)
    if (association !== snapshot.association) {
      // Known by another number, it would be taken for another one.
      mesh?.places.releaseOwner(session, mesh.self)
      if (association !== -1) this.server.close(association, now)
      events.push({ type: 'association-closed', session, association: snapshot.association, loss: 'error' })
    } else {
      this.peers.set(endpoint, { association, overhead: snapshot.negotiated.overhead })
      this.endpoints.set(association, endpoint)
      sessions.setAssociation(session, association)
      mesh?.places.restoreOwner(session, mesh.self)
    }
    this.settle(now)
  }

  /** Ends the session's association, if it is this one. */
  close(session: number, association: number, now: Milliseconds): void {
    const { sessions, mesh } = this.options
    if (association === -1 || sessions.associations[session] !== association) return
    sessions.setAssociation(session, -1)
    mesh?.places.releaseOwner(session, mesh.self)
    this.server.close(association, now)
    this.settle(now)
  }

  /** Does what the last batch or command has left: call it after each. */
  settle(now: Milliseconds): void {
    const { socket, sessions, events, mesh } = this.options
    for (let output = this.server.poll(); output !== undefined; output = this.server.poll()) {
      switch (output.type) {
        case 'transmit':
          socket.sendTo(output.endpoint, output.bytes)
          break
        case 'established': {
          const { association, endpoint, overhead, maxPlaintextBytes } = output
          const session = this.permits.find(output.sessionId)?.session
          if (session === undefined) {
            // Its App-ID was replaced during the handshake.
            this.server.close(association, now)
            break
          }
          this.peers.set(endpoint, { association, overhead })
          this.endpoints.set(association, endpoint)
          this.roaming?.handleEstablished(endpoint)
          const previous = sessions.associations[session]!
          sessions.setAssociation(session, association)
          mesh?.places.setOwner(session, mesh.self)
          events.push({
            type: 'association-established',
            session,
            association,
            overhead,
            maxPlaintextBytes,
            address: socket.endpoints.addressOf(endpoint),
            port: socket.endpoints.portOf(endpoint),
            ...(this.options.sequences && { snapshot: this.server.exportAssociation(association) }),
          })
          if (previous !== -1) this.server.close(previous, now)
          break
        }
        case 'closed': {
          const { association, reason } = output
          this.forgetEndpoint(association)
          const session = sessions.ofAssociation(association)
          if (session === -1) break
          sessions.setAssociation(session, -1)
          mesh?.places.releaseOwner(session, mesh.self)
          events.push({ type: 'association-closed', session, association, loss: lossOf(reason) })
          break
        }
        case 'endpoint-changed':
          this.move(output.association, output.from, output.to)
          break
        case 'handshake-failed': {
          const remote = socket.endpoints.addressOf(output.endpoint)
          events.push({ type: 'handshake-failed', remote, code: output.error.code })
          break
        }
        case 'key-limit-near': {
          const session = sessions.ofAssociation(output.association)
          if (session !== -1) events.push({ type: 'key-limit-near', session, association: output.association })
          break
        }
        case 'received':
          break
      }
    }
  }

  stats(): DtlsStats {
    return this.server.stats()
  }

  /** The system refused a datagram of so many bytes as too long for the path to an endpoint. */
  private handleTooBig(endpoint: number, bytes: number): void {
    const peer = this.peers.get(endpoint)
    const session = peer ? this.options.sessions.ofAssociation(peer.association) : -1
    if (session === -1) return
    this.options.events.push({ type: 'datagram-too-big', session, payloadBytes: bytes - peer!.overhead })
  }

  private move(association: number, from: number, to: number): void {
    const { socket, sessions, events } = this.options
    this.roaming?.handleMoved(association, to)
    const peer = this.peers.get(from)
    // Somebody else may be there by now.
    if (peer?.association === association) {
      this.peers.delete(from)
      this.peers.set(to, peer)
      this.endpoints.set(association, to)
    }
    const session = sessions.ofAssociation(association)
    if (session === -1) return
    const [before, after] = [socket.endpoints.addressOf(from), socket.endpoints.addressOf(to)]
    const port = socket.endpoints.portOf(to)
    events.push({ type: 'association-moved', session, association, from: before, to: after, port })
  }

  private forgetEndpoint(association: number): void {
    this.roaming?.handleClosed(association)
    const endpoint = this.endpoints.get(association)
    this.endpoints.delete(association)
    if (endpoint !== undefined && this.peers.get(endpoint)?.association === association) this.peers.delete(endpoint)
  }
}

function lossOf(reason: CloseReason): DatagramLoss {
  return reason === 'peer' ? 'closed-by-peer' : reason === 'handshake-failed' ? 'handshake-failed' : 'error'
}
