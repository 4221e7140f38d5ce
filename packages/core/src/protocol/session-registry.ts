import { type Machine, OutputQueue } from '../runtime/machine.ts'
import type { Random } from '../runtime/random.ts'
import { type Milliseconds, seconds } from '../runtime/time.ts'
import type { LoginIdentity } from './credentials.ts'
import { SESSION_COOKIE_BYTES, SESSION_COOKIE_LENGTH } from './limits.ts'
import { base64url, hex } from './text-codes.ts'

/**
 * The sessions of a gateway: who holds which cookie, until when, and what they lease.
 *
 *     open ──> waiting ──connect──> connected ──streamLost──> disconnected ──connect──> connected ...
 *                 └─────────────────────┴────────── end / deadline ──────────┴──> ended
 *
 * A cookie identifies a session, never a connection: 32 random bytes that the client presents with every CONNECT. Only
 * its hash is kept, so that a copy of memory or of a log gives nobody a session. A session ends at its maximum age
 * however often its client comes back; without a live stream it ends when its cookie times out. A new CONNECT replaces
 * the stream before it and keeps the lease. What has ended never comes back: its cookie is unknown from then on.
 */
export class SessionRegistry<Lease = unknown> implements Machine<SessionRegistryOutput<Lease>> {
  private config: Required<SessionRegistryLimits>
  private readonly random: Random
  private readonly hash: (bytes: Uint8Array) => Uint8Array
  private readonly byCookie = new Map<string, Entry<Lease>>()
  private readonly byId = new Map<number, Entry<Lease>>()
  private readonly byUser = new Map<string, Set<Entry<Lease>>>()
  private readonly outputs = new OutputQueue<SessionRegistryOutput<Lease>>()
  private nextId = 1
  private nextStream = 1
  /** Never later than the first expiry; possibly earlier, since activity only moves expiries back. */
  private earliestExpiry: Milliseconds | undefined

  constructor(options: SessionRegistryOptions) {
    this.config = registryConfig(options.limits)
    this.random = options.random
    this.hash = options.hash
  }

  /** Takes other limits. Sessions that stand keep their maximum age; the rest counts from now on. @throws RangeError */
  setLimits(limits: SessionRegistryLimits, now: Milliseconds): void {
    this.config = registryConfig(limits)
    this.earliestExpiry = now
    this.handleDeadline(now)
  }

  /** How many sessions there are, with and without a live stream. */
  get size(): number {
    return this.byId.size
  }

  /** The sessions, oldest first. */
  sessions(): IterableIterator<SessionRecord<Lease>> {
    return this.byId.values()
  }

  find(id: number): SessionRecord<Lease> | undefined {
    return this.byId.get(id)
  }

  /** The sessions of one user. */
  sessionsOf(username: string): readonly SessionRecord<Lease>[] {
    return [...(this.byUser.get(username) ?? [])]
  }

  /**
   * Makes a session for somebody who has just logged in, and its cookie. A user at the limit loses the oldest session
   * that has no live stream (its client is gone and has logged in anew); when all are live the login is refused.
   *
   * @param ownMaxSeconds - the longest that this one may live, if that is less than what holds for all
   */
  open(
    identity: LoginIdentity,
    now: Milliseconds,
    ownMaxSeconds: number = Number.POSITIVE_INFINITY,
  ): OpenedSession<Lease> | RefusedSession {
    this.handleDeadline(now)
    const { maxSessions, maxSessionsPerUser, cookieSeconds } = this.config
    const maxSeconds = Math.min(this.config.maxSeconds || Number.POSITIVE_INFINITY, ownMaxSeconds)
    const siblings = this.byUser.get(identity.username)
    if (maxSessionsPerUser > 0 && siblings && siblings.size >= maxSessionsPerUser) {
      const idle = [...siblings].find(sibling => sibling.state !== 'connected')
      if (!idle) return { refused: 'user-limit' }
      this.remove(idle, 'superseded')
    }
    if (this.byId.size >= maxSessions) return { refused: 'gateway-limit' }

    const cookie = base64url(this.random.fill(new Uint8Array(SESSION_COOKIE_BYTES)))
    const entry: Entry<Lease> = {
      id: this.nextId++,
      identity,
      createdAt: now,
      expiresAt: maxSeconds === Number.POSITIVE_INFINITY ? undefined : now + seconds(maxSeconds),
      state: 'waiting',
      stream: 0,
      lease: undefined,
      cookieHash: this.hashOf(cookie),
      cookieExpiresAt: now + seconds(cookieSeconds),
      activeAt: now,
    }
    this.byCookie.set(entry.cookieHash, entry)
    this.byId.set(entry.id, entry)
    if (siblings) siblings.add(entry)
    else this.byUser.set(identity.username, new Set([entry]))
    this.expectExpiry(entry)
    return { session: entry, cookie }
  }

  /**
   * A CONNECT arrives with `cookie`. The session's stream before it, if it still lives, is replaced: whoever owns it
   * finds `session.stream` changed, and its `streamLost` no longer counts.
   */
  connect(
    cookie: string | undefined,
    now: Milliseconds,
  ): ConnectedSession<Lease> | { readonly refused: 'unknown-cookie' } {
    this.handleDeadline(now)
    if (cookie?.length !== SESSION_COOKIE_LENGTH) return { refused: 'unknown-cookie' }
    const entry = this.byCookie.get(this.hashOf(cookie))
    if (!entry) return { refused: 'unknown-cookie' }
    const replaced = entry.state === 'connected' ? entry.stream : undefined
    const returning = entry.stream !== 0
    entry.state = 'connected'
    entry.stream = this.nextStream++
    entry.activeAt = now
    this.expectExpiry(entry)
    return { session: entry, stream: entry.stream, returning, ...(replaced === undefined ? {} : { replaced }) }
  }

  /** The stream of that number is gone without a goodbye. The session waits for its client until the cookie times out. */
  streamLost(id: number, stream: number, now: Milliseconds): void {
    const entry = this.byId.get(id)
    if (entry?.state !== 'connected' || entry.stream !== stream) return
    entry.state = 'disconnected'
    entry.cookieExpiresAt = now + seconds(this.config.cookieSeconds)
    this.expectExpiry(entry)
  }

  /** User data passed. Control frames don't count. */
  noteActivity(id: number, now: Milliseconds): void {
    const entry = this.byId.get(id)
    if (entry) entry.activeAt = now
  }

  /** Ends a session and makes its cookie worthless, at once. Returns whether there was one. */
  end(id: number, reason: SessionEndReason): boolean {
    const entry = this.byId.get(id)
    if (entry) this.remove(entry, reason)
    return entry !== undefined
  }

  /** Ends every session of a user. Returns how many there were. */
  endUser(username: string, reason: SessionEndReason): number {
    const entries = [...(this.byUser.get(username) ?? [])]
    for (const entry of entries) this.remove(entry, reason)
    return entries.length
  }

  /** Seconds until the session reaches its maximum age, rounded up; 0 when it has none. */
  remainingSeconds(session: SessionRecord<Lease>, now: Milliseconds): number {
    return session.expiresAt === undefined ? 0 : Math.max(1, Math.ceil((session.expiresAt - now) / 1000))
  }

  get deadline(): Milliseconds | undefined {
    return this.earliestExpiry
  }

  handleDeadline(now: Milliseconds): void {
    if (this.earliestExpiry === undefined || now < this.earliestExpiry) return
    this.earliestExpiry = undefined
    for (const entry of [...this.byId.values()]) {
      const reason = this.dueReason(entry, now)
      if (reason) this.remove(entry, reason)
      else this.expectExpiry(entry)
    }
  }

  poll(): SessionRegistryOutput<Lease> | undefined {
    return this.outputs.take()
  }

  private dueReason(entry: Entry<Lease>, now: Milliseconds): SessionEndReason | undefined {
    const { idleSeconds } = this.config
    if (entry.expiresAt !== undefined && now >= entry.expiresAt) return 'max-age'
    if (entry.state !== 'connected') return now >= entry.cookieExpiresAt ? 'cookie-timeout' : undefined
    return idleSeconds > 0 && now >= entry.activeAt + seconds(idleSeconds) ? 'idle' : undefined
  }

  private expectExpiry(entry: Entry<Lease>): void {
    const { idleSeconds } = this.config
    let at = entry.expiresAt ?? Number.POSITIVE_INFINITY
    if (entry.state !== 'connected') at = Math.min(at, entry.cookieExpiresAt)
    else if (idleSeconds > 0) at = Math.min(at, entry.activeAt + seconds(idleSeconds))
    if (at < (this.earliestExpiry ?? Number.POSITIVE_INFINITY)) this.earliestExpiry = at
  }

  private remove(entry: Entry<Lease>, reason: SessionEndReason): void {
    this.byCookie.delete(entry.cookieHash)
    this.byId.delete(entry.id)
    const siblings = this.byUser.get(entry.identity.username)
    siblings?.delete(entry)
    if (siblings?.size === 0) this.byUser.delete(entry.identity.username)
    const hadStream = entry.state === 'connected'
    entry.state = 'ended'
    this.outputs.push({ type: 'ended', session: entry, reason, hadStream })
  }

  private hashOf(cookie: string): string {
    return hex(this.hash(Uint8Array.from(cookie, character => character.charCodeAt(0) & 0xff)))
  }
}

function registryConfig(limits: SessionRegistryLimits | undefined): Required<SessionRegistryLimits> {
  const config = { ...defaultSessionRegistryLimits, ...limits }
  for (const [name, value] of Object.entries(config)) {
    if (!Number.isSafeInteger(value) || value < 0) throw new RangeError(`limits.${name} must be a whole number from 0`)
  }
  return config
}

/** One session. A live view: the registry moves `state` and `stream`, its owner fills `lease`. */
export interface SessionRecord<Lease> {
  /** Counts up from 1; never used twice in one process. */
  readonly id: number
  readonly identity: LoginIdentity
  readonly createdAt: Milliseconds
  /** When the maximum age is reached, whatever happens until then. */
  readonly expiresAt: Milliseconds | undefined
  /** `waiting`: not connected yet; `disconnected`: its client may come back until the cookie times out. */
  readonly state: 'waiting' | 'connected' | 'disconnected' | 'ended'
  /** The number of the newest stream, 0 before the first. */
  readonly stream: number
  /** Whatever the owner keeps with the session (addresses). Untouched by the registry. */
  lease: Lease | undefined
}

export type SessionEndReason =
  /** The client said goodbye. */
  | 'user-left'
  /** An administrator or the gateway's own policy ended it. */
  | 'terminated'
  | 'max-age'
  | 'idle'
  /** No stream came in time. */
  | 'cookie-timeout'
  /** Its user logged in anew, at the limit of sessions. */
  | 'superseded'

/** `hadStream`: whether a stream is left to be closed. The owner gives the lease back. */
export interface SessionRegistryOutput<Lease> {
  readonly type: 'ended'
  readonly session: SessionRecord<Lease>
  readonly reason: SessionEndReason
  readonly hadStream: boolean
}

export interface OpenedSession<Lease> {
  readonly session: SessionRecord<Lease>
  /** The only copy: it goes to the client and nowhere else. */
  readonly cookie: string
}

export interface RefusedSession {
  readonly refused: 'gateway-limit' | 'user-limit'
}

export interface ConnectedSession<Lease> {
  readonly session: SessionRecord<Lease>
  /** The number of the new stream, for `streamLost`. */
  readonly stream: number
  /** Whether the session has had a stream before. */
  readonly returning: boolean
  /** The number of a live stream that this one replaces. */
  readonly replaced?: number
}

export interface SessionRegistryLimits {
  /** The maximum age of a session; 0 = none. @defaultValue 3600 */
  readonly maxSeconds?: number
  /** Without user data for so long a connected session ends; 0 = never. @defaultValue 0 */
  readonly idleSeconds?: number
  /** How long a cookie is good without a stream. @defaultValue 300 */
  readonly cookieSeconds?: number
  /** Sessions in all; one costs about 600 bytes. More are refused. @defaultValue 10_000 */
  readonly maxSessions?: number
  /** Sessions of one user name; 0 = no limit but `maxSessions`. @defaultValue 16 */
  readonly maxSessionsPerUser?: number
}

export const defaultSessionRegistryLimits: Required<SessionRegistryLimits> = Object.freeze({
  maxSeconds: 3600,
  idleSeconds: 0,
  cookieSeconds: 300,
  maxSessions: 10_000,
  maxSessionsPerUser: 16,
})

export interface SessionRegistryOptions {
  readonly random: Random
  /** A collision-resistant hash, such as SHA-256. */
  readonly hash: (bytes: Uint8Array) => Uint8Array
  readonly limits?: SessionRegistryLimits
}

interface Entry<Lease> {
  readonly id: number
  readonly identity: LoginIdentity
  readonly createdAt: Milliseconds
  readonly expiresAt: Milliseconds | undefined
  state: SessionRecord<Lease>['state']
  stream: number
  lease: Lease | undefined
  readonly cookieHash: string
  cookieExpiresAt: Milliseconds
  activeAt: Milliseconds
}
