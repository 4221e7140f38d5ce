/** What the system says of a thread. */
export interface ThreadActivity {
  /** It runs, or would if it got a processor; else it sleeps in the kernel. */
  readonly isRunnable: boolean
  /** Processor time that it got since its start, in milliseconds. */
  readonly ranMs: number
}

/**
 * How a thread is at a look:
 *
 *     alive      its heart has beaten since the last look
 *     quiet      it has not, which says nothing yet
 *     starved    it has not for long, but it has not had the processor time to
 *     else       it hangs: why, by its `Fault`
 */
export type ThreadState = 'alive' | 'quiet' | 'starved' | Fault
export type Fault = 'endless-loop' | 'stuck' | 'silent' | 'not-begun' | 'starved-too-long'

/** Each fault in words that follow "the thread". */
export const faultText: Readonly<Record<Fault, string>> = {
  'endless-loop': 'does not answer: it is in an endless loop',
  stuck: 'does not answer: it sleeps in a system call',
  silent: 'does not answer: what it does instead is unknown',
  'not-begun': 'does not begin',
  'starved-too-long': 'does not answer: it gets no processor time',
}

/** So much processor time without a beat is an endless loop: a turn takes a few milliseconds. */
const LOOP_MS = 250
/** Between two looks, less than this is as good as none: how fine the system counts. */
const IDLE_MS = 10
/** Looks in a row at which it slept, and was asleep all the time before: it never sleeps longer than one of them lasts. */
const MOST_ASLEEP = 20
/** From so many looks without a beat on, a thread that is not at fault is called starved. */
const STARVED_LOOKS = 5
const MOST_STARVED = 300
/** Where nothing is known of the thread: long enough for most of those that only starve. */
const MOST_SILENT = 30
/** To begin takes compiling and setting up, and some time to get there. */
const MOST_BEFORE_BEGIN = 200

export function isFault(state: ThreadState): state is Fault {
  return Object.hasOwn(faultText, state)
}

/**
 * Tells a thread that hangs from one that gets no processor, as on a machine that is overloaded: to replace the latter makes it
 * worse. Looks and the thread's own processor time are counted, not time, so that a watcher that was held up itself draws no
 * conclusion from that. A look is meant each 100 ms.
 */
export class HeartbeatWatch {
  private last = 0
  private looks = 0
  private asleep = 0
  /** Its processor time at the first look at this beat, and at the last look. */
  private ranAtBeat: number | undefined
  private ranBefore = 0

  /**
   * Takes a look.
   *
   * @param heartbeat - what the thread counts up; 0 until it has begun
   * @param activity - `undefined` where the system does not tell
   */
  look(heartbeat: number, activity: ThreadActivity | undefined): ThreadState {
    const isFirst = heartbeat !== this.last
    this.last = heartbeat
    this.looks = isFirst ? 0 : this.looks + 1
    if (heartbeat === 0) return this.looks >= MOST_BEFORE_BEGIN ? 'not-begun' : 'quiet'
    if (!activity) {
      if (isFirst) this.ranAtBeat = undefined
      return isFirst ? 'alive' : this.looks >= MOST_SILENT ? 'silent' : 'quiet'
    }
    const { isRunnable, ranMs } = activity
    const hasRun = ranMs - this.ranBefore >= IDLE_MS
    this.ranBefore = ranMs
    if (isFirst) {
      this.ranAtBeat = ranMs
      this.asleep = 0
      return 'alive'
    }
    this.ranAtBeat ??= ranMs
    this.asleep = isRunnable || hasRun ? 0 : this.asleep + 1
    if (ranMs - this.ranAtBeat >= LOOP_MS) return 'endless-loop'
    if (this.asleep >= MOST_ASLEEP) return 'stuck'
    if (this.looks >= MOST_STARVED) return 'starved-too-long'
    return this.looks >= STARVED_LOOKS && this.asleep === 0 ? 'starved' : 'quiet'
  }
}
