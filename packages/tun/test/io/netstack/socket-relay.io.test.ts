// The relay where a test may change the host: in a network namespace of its own.
import { spawnSync } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { needs } from '../../../../../tests/lab/needs.ts'

const namespace = `twinbore-relay-${process.pid}`
const host = fileURLToPath(new URL('./relay-host.ts', import.meta.url))

function ip(...args: string[]): void {
  const { status, stderr } = spawnSync('ip', args, { encoding: 'utf8' })
  if (status !== 0) throw new Error(stderr)
}

/** Runs a scene of `relay-host.ts` in the namespace and returns what it saw. */
function scene(name: string, pingGroups: string): Record<string, unknown> {
  const command = `sysctl -qw net.ipv4.ping_group_range="${pingGroups}" && exec "$0" "$@"`
  const program = [process.execPath, '--import', 'tsx', '--conditions', '@twinbore/source', host, name]
  const { stdout, stderr } = spawnSync('ip', ['netns', 'exec', namespace, 'sh', '-c', command, ...program], {
    encoding: 'utf8',
    timeout: 50_000,
  })
  if (stdout === '') throw new Error(stderr)
  return JSON.parse(stdout) as Record<string, unknown>
}

needs('root', 'ip')('a relay in a namespace', () => {
  beforeAll(() => {
    ip('netns', 'add', namespace)
    ip('-n', namespace, 'link', 'set', 'lo', 'up')
    // Addresses of the host that are not loopback, and whose traffic leaves it nevertheless never.
    for (const address of ['10.44.0.1/32', '10.44.0.2/32', 'fd44::1/128']) {
      ip('-n', namespace, 'addr', 'add', address, 'dev', 'lo')
    }
  })
  afterAll(() => void spawnSync('ip', ['netns', 'delete', namespace]))

  test('answers pings by what the host itself says, with the client’s identifier', () => {
    expect(scene('ping', '0 2147483647')).toEqual({
      canPing: true,
      answers: [
        { destination: '10.44.0.1', identifier: 0x1234, sequenceNumber: 7, payload: 'IPv4' },
        { destination: 'fd44::1', identifier: 0x1234, sequenceNumber: 8, payload: 'IPv6' },
      ],
      pingSockets: 2,
    })
  })

  test('says that pings are prohibited where the host gives no ping sockets', () => {
    expect(scene('no-ping', '1 0')).toEqual({ canPing: false, refused: 1, icmp: [3, 13] })
  })

  test('takes no datagram from a host that was not sent to, and one from another port of a host that was', () => {
    expect(scene('filter', '1 0')).toEqual({ came: ['answer', 'from another port'], filtered: 1 })
  })

  test('refuses an address that turns out to be the host’s own', () => {
    expect(scene('own-address', '1 0')).toEqual({ kind: 'admin-prohibited', established: false, accepted: 'yes' })
  })

  test('refuses networks and hosts as the system does', () => {
    expect(scene('no-route', '1 0')).toEqual({ kind: 'net-unreachable', datagram: 'net-unreachable' })
  })
})
