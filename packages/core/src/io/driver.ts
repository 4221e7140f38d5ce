import type { Clock, Machine, Milliseconds } from '../runtime/index.ts'
import { systemClock } from './system-clock.ts'

/** What a machine needs from the outside: somewhere to put its outputs, and time. */
export interface Hands<Output> {
  /** Takes one output. It may call `input` of the driver; that input is drained in its turn, after this output. */
  onOutput(output: Output, now: Milliseconds): void
  /** @defaultValue the clock of this computer */
  readonly clock?: Clock
  /** Whether a pending deadline keeps the process alive. @defaultValue false */
  readonly keepsProcessAlive?: boolean
}

/** A machine with hands: see `drive`. */
export interface Driver {
  /** Gives the machine an input, with the current time, then hands on its outputs and arms the timer. */
  input(feed: (now: Milliseconds) => void): void
  /** Hands on outputs and arms the timer, after inputs that did not come through `input` (batches of a data plane). */
  settle(): void
  /** Stops the timer. The machine gets nothing more from here. */
  stop(): void
}

/** setTimeout takes no longer delay; a later deadline is reached in steps. */
const LONGEST_DELAY_MS = 0x7fff_ffff

/**
 * Runs one machine on this thread: feeds it, drains its outputs into `hands.onOutput`, and wakes it at its deadline. One
 * timer, which is left alone when the deadline only moved further away (as it does with each packet): it then fires too
 * early, finds nothing due, and is armed again.
 */
export function drive<Output>(machine: Machine<Output>, hands: Hands<Output>): Driver {
  return new MachineDriver(machine, hands)
}

class MachineDriver<Output> implements Driver {
  private readonly machine: Machine<Output>
  private readonly hands: Hands<Output>
  private readonly clock: Clock
  private timer: NodeJS.Timeout | undefined = undefined
  private timerAt: Milliseconds = 0
  private draining = false
  private stopped = false

  constructor(machine: Machine<Output>, hands: Hands<Output>) {
    this.machine = machine
    this.hands = hands
    this.clock = hands.clock ?? systemClock
    this.settle()
  }

  input(feed: (now: Milliseconds) => void): void {
    if (this.stopped) return
    feed(this.clock.now())
    this.settle()
  }

  settle(): void {
    // An input from within onOutput is drained by the loop that is already running.
    if (this.draining || this.stopped) return
    this.draining = true
    try {
      for (let output = this.machine.poll(); output !== undefined; output = this.machine.poll()) {
        this.hands.onOutput(output, this.clock.now())
        if (this.stopped) return
      }
    } finally {
      this.draining = false
    }
    this.arm()
  }

  stop(): void {
    this.stopped = true
    clearTimeout(this.timer)
    this.timer = undefined
  }

  private arm(): void {
    const { deadline } = this.machine
    if (deadline === undefined) {
      clearTimeout(this.timer)
      this.timer = undefined
      return
    }
    if (this.timer !== undefined && this.timerAt <= deadline) return
    clearTimeout(this.timer)
    // Rounded up: a timer that fires a fraction too early would only be armed again. A machine whose deadline has passed
    // is woken in the next turn of the loop, never from here, so that it can't keep the loop to itself.
    const delay = Math.min(LONGEST_DELAY_MS, Math.max(1, Math.ceil(deadline - this.clock.now())))
    this.timerAt = deadline
    this.timer = setTimeout(() => this.wake(), delay)
    if (this.hands.keepsProcessAlive !== true) this.timer.unref()
  }

  private wake(): void {
    this.timer = undefined
    this.input(now => this.machine.handleDeadline(now))
  }
}
