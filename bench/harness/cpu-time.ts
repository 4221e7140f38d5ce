// The CPU time of a process, from the scheduler's own books.
import { readdirSync, readFileSync } from 'node:fs'

/**
 * Nanoseconds that all threads of a process have run so far, user and kernel. Kernel work that the process's own system
 * calls trigger (delivery through a veth pair, forwarding) is charged to it; that holds for every candidate alike.
 */
export function cpuNanoseconds(pid: number): number {
  let total = 0
  for (const thread of readdirSync(`/proc/${pid}/task`)) {
    try {
      total += Number(readFileSync(`/proc/${pid}/task/${thread}/schedstat`, 'utf8').split(' ')[0])
    } catch {
      // The thread ended between the listing and the reading.
    }
  }
  return total
}
