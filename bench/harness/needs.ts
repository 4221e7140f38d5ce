// What a bench needs from the machine.
import { closeSync, openSync } from 'node:fs'
import { findProgram } from '../../tests/lab/find-program.ts'

/** Debian's package of each program that a bench may ask for. */
const packageOf = {
  ip: 'iproute2',
  iperf3: 'iperf3',
  slirp4netns: 'slirp4netns',
  taskset: 'util-linux',
} as const

export type BenchNeed = 'root' | 'tun' | keyof typeof packageOf

/** Says on standard error what of `needs` the machine lacks, sets the exit code, and returns whether it has them all. */
export function hasAll(bench: string, needs: readonly BenchNeed[]): boolean {
  const missing = needs.map(explainMissing).filter(reason => reason !== undefined)
  if (missing.length === 0) return true
  console.error(`The bench '${bench}' needs ${missing.join(', ')}.`)
  process.exitCode = 1
  return false
}

function explainMissing(need: BenchNeed): string | undefined {
  if (need === 'root') return process.getuid?.() === 0 ? undefined : 'root'
  if (need === 'tun') return canOpenTun() ? undefined : 'a TUN device (/dev/net/tun)'
  return findProgram(need) ? undefined : `${need} (Debian package ${packageOf[need]})`
}

function canOpenTun(): boolean {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'))
    return true
  } catch {
    return false
  }
}
