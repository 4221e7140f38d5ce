// What a suite needs from the machine. A suite that lacks something is skipped with the reason in its title, which the
// summary reporter collects; in CI (CI=true) it fails instead.
import { spawnSync } from 'node:child_process'
import { closeSync, openSync } from 'node:fs'
import { describe, test } from 'vitest'
import { findProgram } from './find-program.ts'

/** What a suite may ask for: a privilege, something of the kernel, or a program by its name. */
export type Need = 'root' | 'tun' | 'user-namespaces' | ProgramNeed

export type ProgramNeed = keyof typeof packageOf

/** Debian's package of each program that a suite may use. */
export const packageOf = {
  certtool: 'gnutls-bin',
  curl: 'curl',
  'gnutls-cli': 'gnutls-bin',
  'gnutls-serv': 'gnutls-bin',
  ip: 'iproute2',
  iperf3: 'iperf3',
  nft: 'nftables',
  ocpasswd: 'ocserv',
  ocserv: 'ocserv',
  openconnect: 'openconnect',
  openssl: 'openssl',
  ping: 'iputils-ping',
  script: 'bsdutils',
  setpriv: 'util-linux',
  socat: 'socat',
  ss: 'iproute2',
  tcpdump: 'tcpdump',
  tshark: 'tshark',
  unshare: 'util-linux',
} as const

/** Begins the reason in the title of a suite that was skipped. */
export const skipMark = '[skipped: needs '

type Describe = (title: string, body: () => void) => void

/**
 * Returns the `describe` of a suite that needs `names`:
 * `needs('root', 'tun', 'openconnect')('the stock client', () => { ... })`.
 */
export function needs(...names: readonly Need[]): Describe {
  const missing = names.map(explainMissing).filter(reason => reason !== undefined)
  if (missing.length === 0) return (title, body) => void describe(title, body)
  const reason = missing.join(', ')
  if (process.env.CI === 'true') {
    return title =>
      void describe(title, () => {
        test('has what it needs', () => {
          throw new Error(`In CI nothing is skipped, and this suite needs ${reason}.`)
        })
      })
  }
  return (title, body) => void describe.skip(`${title} ${skipMark}${reason}]`, body)
}

function explainMissing(name: Need): string | undefined {
  if (name === 'root') return process.getuid?.() === 0 ? undefined : 'root'
  if (name === 'tun') return canOpenTun() ? undefined : 'a TUN device (/dev/net/tun)'
  if (name === 'user-namespaces') {
    return canMakeUserNamespace() ? undefined : 'user namespaces of ordinary users (kernel.unprivileged_userns_clone)'
  }
  return findProgram(name) ? undefined : `${name} (Debian package ${packageOf[name]})`
}

function canMakeUserNamespace(): boolean {
  const own = ['unshare', '--user', '--map-root-user', '--mount', 'true']
  const words = process.getuid?.() === 0 ? ['setpriv', '--reuid', '65534', '--clear-groups', ...own] : own
  return spawnSync(words[0]!, words.slice(1)).status === 0
}

function canOpenTun(): boolean {
  try {
    closeSync(openSync('/dev/net/tun', 'r+'))
    return true
  } catch {
    return false
  }
}
