import type { Socket } from 'node:net'
import { addressKey } from '../protocol/address-key.ts'

/** A connection that has no tunnel yet. */
export interface ControlConnection {
  readonly raw: Socket
  readonly remoteAddress: string
  readonly remotePort: number
  readonly localAddress: string
  readonly localPort: number
  /** Whether the TLS handshake is done. */
  secured: boolean
  /** Requests so far. */
  requests: number
  /** Whether a request waits for its reply. Then there must not be another one. */
  awaitsReply: boolean
  /** Requests whose replies are not with the operating system yet. */
  busy: number
}

/**
 * The connections that have no tunnel yet: limited in all, by address and in time. One ends its stay by closing, by
 * becoming a tunnel (`release`), or at its deadline.
 */
export class ConnectionLimits {
  private readonly maxConnections: number
  private readonly maxPerAddress: number
  private readonly deadlineMs: number
  private readonly open = new Map<
    string,
    { connection: ControlConnection; timer: NodeJS.Timeout; addressKey: string }
  >()
  private readonly perAddress = new Map<string, number>()

  constructor(limits: { maxConnections: number; maxPerAddress: number; seconds: number }) {
    this.maxConnections = limits.maxConnections
    this.maxPerAddress = limits.maxPerAddress
    this.deadlineMs = limits.seconds * 1000
  }

  get size(): number {
    return this.open.size
  }

  connections(): ControlConnection[] {
    return [...this.open.values()].map(({ connection }) => connection)
  }

  /** Admits a fresh TCP connection, or returns undefined when a limit is reached (or the peer has gone already). */
  admit(raw: Socket): ControlConnection | undefined {
    const { remoteAddress, remotePort, localAddress, localPort } = raw
    if (!remoteAddress || !remotePort || !localAddress || !localPort) return undefined
    const key = addressKey(remoteAddress)
    const count = this.perAddress.get(key) ?? 0
    if (this.open.size >= this.maxConnections || count >= this.maxPerAddress) return undefined
    const connection: ControlConnection = {
      raw,
      remoteAddress: plainAddress(remoteAddress),
      remotePort,
      localAddress: plainAddress(localAddress),
      localPort,
      secured: false,
      requests: 0,
      awaitsReply: false,
      busy: 0,
    }
    const timer = setTimeout(() => raw.destroy(), this.deadlineMs)
    timer.unref()
    this.perAddress.set(key, count + 1)
    this.open.set(endpointsOf(raw), { connection, timer, addressKey: key })
    return connection
  }

  /** The connection below a TLS socket: the one with the same four endpoints. */
  find(socket: Socket): ControlConnection | undefined {
    return this.open.get(endpointsOf(socket))?.connection
  }

  /** Forgets a connection: it is closed, or a tunnel now. */
  release(connection: ControlConnection): void {
    const key = `${connection.remoteAddress} ${connection.remotePort} ${connection.localAddress} ${connection.localPort}`
    const entry = this.open.get(key)
    if (entry?.connection !== connection) return
    clearTimeout(entry.timer)
    this.open.delete(key)
    const count = this.perAddress.get(entry.addressKey)! - 1
    if (count === 0) this.perAddress.delete(entry.addressKey)
    else this.perAddress.set(entry.addressKey, count)
  }
}

/** Four endpoints name a live connection of one listener. */
function endpointsOf(socket: Socket): string {
  const { remoteAddress = '', remotePort = 0, localAddress = '', localPort = 0 } = socket
  return `${plainAddress(remoteAddress)} ${remotePort} ${plainAddress(localAddress)} ${localPort}`
}

/** Sockets that take both families show IPv4 peers as IPv4-mapped IPv6 addresses. */
function plainAddress(text: string): string {
  return /^::ffff:\d+\.\d+\.\d+\.\d+$/i.test(text) ? text.slice(7) : text
}
