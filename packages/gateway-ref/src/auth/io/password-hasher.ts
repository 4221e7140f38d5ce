import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { defaultScryptCosts, type PasswordRecord, type ScryptCosts } from '../password-record.ts'

/** Bounds of the work that strangers can cause. */
export interface PasswordHasherOptions {
  /** Passwords checked at the same time; each takes a thread of Node's pool (4 by default). @defaultValue 2 */
  readonly concurrency?: number
  /** Passwords waiting; a further one is refused as `busy`. @defaultValue 1024 */
  readonly maxWaiting?: number
  /**
   * The same of one client address, so that one can't keep out all; many clients may share one behind a translator.
   * @defaultValue 128
   */
  readonly maxWaitingPerAddress?: number
}

/** Begins a check whose turn has come. */
type Job = () => void

/**
 * Checks passwords with scrypt, off the main thread, and never more than it was told at once. Addresses take turns, so that
 * many checks of one don't keep the others waiting.
 */
export class PasswordHasher {
  private running = 0
  private waitingCount = 0
  /** Jobs by address, the address whose turn it is first. */
  private readonly waiting = new Map<string, Set<Job>>()
  private readonly concurrency: number
  private readonly maxWaiting: number
  private readonly maxWaitingPerAddress: number

  constructor(options: PasswordHasherOptions = {}) {
    this.concurrency = options.concurrency ?? 2
    this.maxWaiting = options.maxWaiting ?? 1024
    this.maxWaitingPerAddress = options.maxWaitingPerAddress ?? 128
  }

  /** Passwords being checked and waiting. */
  get load(): number {
    return this.running + this.waitingCount
  }

  /**
   * Compares a password with its record, in a time that depends on the record's costs only.
   *
   * @param address whose turn this is, for fairness
   * @returns `busy` when too much waits already
   * @throws the reason of `signal` when it aborts before the work begins
   */
  async verify(
    password: string,
    record: PasswordRecord,
    address: string,
    signal: AbortSignal,
  ): Promise<'match' | 'mismatch' | 'busy'> {
    signal.throwIfAborted()
    if (!(await this.turn(address, signal))) return 'busy'
    try {
      const hash = await deriveHash(password, record.salt, record)
      return timingSafeEqual(hash, record.hash) ? 'match' : 'mismatch'
    } finally {
      this.running -= 1
      this.next()?.()
    }
  }

  private turn(address: string, signal: AbortSignal): Promise<boolean> | boolean {
    if (this.running < this.concurrency) {
      this.running += 1
      return true
    }
    const jobs = this.waiting.get(address) ?? new Set()
    if (this.waitingCount >= this.maxWaiting || jobs.size >= this.maxWaitingPerAddress) return false
    return new Promise((resolve, reject) => {
      const job: Job = () => {
        signal.removeEventListener('abort', giveUp)
        this.running += 1
        resolve(true)
      }
      const giveUp = () => {
        this.waitingCount -= 1
        jobs.delete(job)
        if (jobs.size === 0) this.waiting.delete(address)
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', giveUp, { once: true })
      jobs.add(job)
      this.waiting.set(address, jobs)
      this.waitingCount += 1
    })
  }

  /** Takes the oldest job of the address whose turn it is; then it is the next one's. */
  private next(): Job | undefined {
    for (const [address, jobs] of this.waiting) {
      this.waiting.delete(address)
      this.waitingCount -= 1
      const [job] = jobs
      jobs.delete(job!)
      if (jobs.size > 0) this.waiting.set(address, jobs)
      return job
    }
    return undefined
  }
}

/** Makes the record of a new password, with a new salt. */
export async function hashPassword(password: string, costs: ScryptCosts = defaultScryptCosts): Promise<PasswordRecord> {
  const salt = randomBytes(16)
  const { N, r, p } = costs
  return { N, r, p, salt, hash: await deriveHash(password, salt, costs) }
}

function deriveHash(password: string, salt: Uint8Array, { N, r, p }: ScryptCosts): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    // The same letters typed on two systems may come as different code points: RFC 8265 §4.2.2 asks for NFC.
    const text = password.normalize('NFC')
    scrypt(text, salt, 32, { N, r, p, maxmem: 256 * N * r + 1024 * 1024 }, (error, hash) =>
      error ? reject(error) : resolve(hash),
    )
  })
}
