import { readdirSync, readFileSync } from 'node:fs'

/** Part of the limit that sockets for flows may bring the process to; the rest is for listeners, files and the runtime. */
const ADMITTED_PART = 0.8
/** Where the system doesn't say. */
const ASSUMED_LIMIT = 1024

/** How many more sockets the process may open: at the limit of open files even the runtime itself fails. */
export class DescriptorBudget {
  /** What the process may have open before no flow is admitted any more. */
  readonly admitted: number
  private readonly own: () => number
  /** Open for other purposes, as last looked. */
  private others = 0

  /** @param own - how many descriptors the owner of this budget holds now; a given `limit` replaces the system's */
  constructor(own: () => number, limit: number = systemLimit()) {
    this.admitted = Math.floor(limit * ADMITTED_PART)
    this.own = own
    this.look()
  }

  get hasRoom(): boolean {
    return this.own() + this.others < this.admitted
  }

  /** Counts again what else is open. */
  look(): void {
    const open = openDescriptors()
    if (open !== undefined) this.others = Math.max(0, open - this.own())
  }
}

function systemLimit(): number {
  try {
    const soft = /^Max open files\s+(\d+|unlimited)/m.exec(readFileSync('/proc/self/limits', 'latin1'))?.[1]
    if (soft === 'unlimited') return Number.MAX_SAFE_INTEGER
    return soft === undefined ? ASSUMED_LIMIT : Number(soft)
  } catch {
    return ASSUMED_LIMIT
  }
}

function openDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length
  } catch {
    return undefined
  }
}
