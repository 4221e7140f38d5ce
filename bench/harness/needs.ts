// What a bench needs from the machine.
import { closeSync, openSync } from 'node:fs'
import { findProgram } from '../../tests/lab/find-program.ts'

/** Debian's package of each program that a bench may ask for. */
const packageOf = {
  ip: 'iproute2',
  iperf3: 'iperf3',
  nft: 'nftables',
  ocserv: 'ocserv',
  openconnect: 'openconnect',
  openssl: 'openssl',
  openvpn: 'openvpn',
  ping: 'iputils-ping',
  slirp4netns: 'slirp4netns',
  taskset: 'util-linux',
  wg: 'wireguard-tools',
  'wireguard-go': 'wireguard-go',
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

/** The peers whose programs the machine has; says on standard error why it leaves others out. */
export function presentPeers<T extends string>(
  peers: readonly T[],
  needsOf: Readonly<Record<T, readonly BenchNeed[]>>,
): T[] {
  return peers.filter(peer => {
    const missing = needsOf[peer].map(explainMissing).filter(reason => reason !== undefined)
    if (missing.length > 0) console.error(`${peer} is left out: it needs ${missing.join(', ')}.`)
    return missing.length === 0
  })
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
