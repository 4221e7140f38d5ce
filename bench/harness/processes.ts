// A gateway with all of its processes: ocserv has one for each session, and more that come and go.
import { readFileSync } from 'node:fs'
import { cpuNanoseconds } from './cpu-time.ts'

/**
 * Bytes of proportional set size (PSS) of a process and all of its descendants: a page that n processes share counts 1/n for
 * each, so the sum is what the gateway takes from the machine. `own` leaves out pages of files, such as programs: how many
 * processes elsewhere on the machine share those changes from moment to moment.
 */
export function memoryOfTree(root: number, which: 'all' | 'own' = 'all'): number {
  const pattern = which === 'all' ? /^Pss:\s+(\d+)/gm : /^Pss_(?:Anon|Shmem):\s+(\d+)/gm
  return sumOver(root, pid => {
    let total = 0
    for (const [, kibibytes] of readFileSync(`/proc/${pid}/smaps_rollup`, 'utf8').matchAll(pattern)) {
      total += Number(kibibytes) * 1024
    }
    return total
  })
}

/** Nanoseconds that a process and its descendants have run, those that ended and were waited for included. */
export function cpuOfTree(root: number): number {
  return sumOver(root, pid => {
    // Behind the name, which may hold anything: fields 16 and 17 of proc(5), in ticks of 10 ms.
    const fields = readFileSync(`/proc/${pid}/stat`, 'utf8')
      .replace(/^.*\) /s, '')
      .split(' ')
    return cpuNanoseconds(pid) + (Number(fields[13]) + Number(fields[14])) * 1e7
  })
}

function sumOver(root: number, measured: (pid: number) => number): number {
  return withDescendants(root).reduce((sum, pid) => {
    try {
      return sum + measured(pid)
    } catch {
      // It ended in the meantime.
      return sum
    }
  }, 0)
}

function withDescendants(pid: number): number[] {
  try {
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number)
    return [pid, ...children.flatMap(withDescendants)]
  } catch {
    return []
  }
}
