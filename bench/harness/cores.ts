// Who runs on which core.
import { execFileSync } from 'node:child_process'
import { readFileSync } from 'node:fs'

/** The command line that runs a program on one core; `taskset` replaces itself by it, so the process id is the program's. */
export function pinnedTo(core: number): readonly string[] {
  return ['taskset', '--cpu-list', `${core}`]
}

export interface Cores {
  /** The core of whatever is measured. */
  readonly measured: number
  /** Those of all other processes; `measured` itself where the machine has no other. */
  readonly others: readonly number[]
}

/** Keeps one core for what is measured: this process and all that it starts from now on run on the others. */
export function reserveCore(): Cores {
  const allowed = allowedCores()
  const measured = allowed.at(-1)!
  const others = allowed.length > 1 ? allowed.slice(0, -1) : allowed
  execFileSync('taskset', ['--all-tasks', '--cpu-list', '--pid', others.join(','), `${process.pid}`], {
    stdio: 'ignore',
  })
  return { measured, others }
}

/** The cores that this process may run on, in ascending order. */
function allowedCores(): number[] {
  const list = /^Cpus_allowed_list:\s*(\S+)/m.exec(readFileSync('/proc/self/status', 'utf8'))?.[1] ?? '0'
  return list.split(',').flatMap(range => {
    const [first, last = first] = range.split('-').map(Number)
    return Array.from({ length: last! - first! + 1 }, (_, i) => first! + i)
  })
}
