import { randomBytes, scrypt, timingSafeEqual } from 'node:crypto'
import { defaultScryptCosts, type PasswordRecord, type ScryptCosts } from '../password-record.ts'

/** Bounds of the work that strangers can cause. */
export interface PasswordHasherOptions {
  /** Passwords checked at the same time; each takes a thread of Node's pool (4 by default). @defaultValue 2 */
  readonly concurrency?: number
  /** Passwords waiting; a further one is refused as `busy`. @defaultValue 64 */
  readonly maxWaiting?: number
  /** The same of one client address, so that one can't keep out all. @defaultValue 8 */
  readonly maxWaitingPerAddress?: number
}

interface Job {
  readonly address: string
  start(): void
}

/** Checks passwords with scrypt, off the main thread, and never more than it was told at once. */
export class PasswordHasher {
  private running = 0
  private readonly waiting: Job[] = []
  private readonly concurrency: number
  private readonly maxWaiting: number
  private readonly maxWaitingPerAddress: number

  constructor(options: PasswordHasherOptions = {}) {
    this.concurrency = options.concurrency ?? 2
    this.maxWaiting = options.maxWaiting ?? 64
    this.maxWaitingPerAddress = options.maxWaitingPerAddress ?? 8
  }

  /** Passwords being checked and waiting. */
  get load(): number {
    return this.running + this.waiting.length
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
      this.waiting.shift()?.start()
    }
  }

  private turn(address: string, signal: AbortSignal): Promise<boolean> | boolean {
    if (this.running < this.concurrency) {
      this.running += 1
      return true
    }
    const own = this.waiting.filter(job => job.address === address).length
    if (this.waiting.length >= this.maxWaiting || own >= this.maxWaitingPerAddress) return false
    return new Promise((resolve, reject) => {
      const job: Job = {
        address,
        start: () => {
          signal.removeEventListener('abort', giveUp)
          this.running += 1
          resolve(true)
        },
      }
      const giveUp = () => {
        this.waiting.splice(this.waiting.indexOf(job), 1)
        reject(signal.reason as Error)
      }
      signal.addEventListener('abort', giveUp, { once: true })
      this.waiting.push(job)
    })
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
