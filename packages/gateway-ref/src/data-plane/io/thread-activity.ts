import { readFileSync, readlinkSync } from 'node:fs'
import type { ThreadActivity } from '../heartbeat-watch.ts'

/** Times in /proc are told in hundredths of a second, whatever the kernel's own clock is (proc_pid_stat(5), `USER_HZ`). */
const TICK_MS = 10

/** The system's number of the calling thread; 0 where it does not tell. */
export function ownThreadNumber(): number {
  try {
    return Number(/\/(\d+)$/.exec(readlinkSync('/proc/thread-self'))?.[1] ?? 0)
  } catch {
    return 0
  }
}

/** What a thread of this process is about; `undefined` where the system does not tell, or for a thread that is gone. */
export function threadActivity(thread: number): ThreadActivity | undefined {
  if (thread === 0) return undefined
  try {
    return parseThreadStat(readFileSync(`/proc/self/task/${thread}/stat`, 'latin1'))
  } catch {
    return undefined
  }
}

/** Reads a line of /proc/PID/task/TID/stat. The name, in parentheses, may hold anything. */
export function parseThreadStat(line: string): ThreadActivity | undefined {
  // From the third field on: state is the 3rd, utime the 14th, stime the 15th.
  const fields = line.slice(line.lastIndexOf(')') + 2).split(' ')
  const ranMs = (Number(fields[11]) + Number(fields[12])) * TICK_MS
  const state = fields[0]
  if (!Number.isFinite(ranMs) || state === undefined || !/^[RSDTtIKWP]$/.test(state)) return undefined
  return { isRunnable: state === 'R', ranMs }
}
