import { describe, expect, test } from 'vitest'
import { findingLine, findingsOf, type HostFacts, type Intent } from '../../src/doctor/findings.ts'

const all: HostFacts = {
  ffi: undefined,
  tun: {
    refusal: undefined,
    advice: undefined,
    superPacketWrites: true,
    segmentation: true,
    datagramSegmentation: true,
    multiQueue: true,
  },
  datagrams: { native: true, gso: true, gro: true },
  records: { kind: 'tls-mode' },
  streams: { kind: 'evp' },
  checksums: undefined,
  nft: undefined,
  ports: [
    { name: 'TCP 443', obstacle: undefined },
    { name: 'UDP 443', obstacle: undefined },
  ],
}
const nothing: HostFacts = {
  ffi: 'no build of koffi',
  tun: { ...all.tun, refusal: 'ERR_TUN_NO_DRIVER', advice: '/dev/net/tun is not there' },
  datagrams: { native: false, gso: false, gro: false, reason: 'no build of koffi' },
  records: { kind: 'node', reason: "libcrypto can't be called" },
  streams: { kind: 'node', reason: "libcrypto can't be called" },
  checksums: 'WebAssembly is not defined',
  nft: "the program 'nft' is missing",
  ports: [],
}
const states = (facts: HostFacts, intent: Intent) =>
  Object.fromEntries(findingsOf(facts, intent).map(({ name, state }) => [name, state]))

describe('a host that has everything', () => {
  test.each(['sockets', 'translate', 'kernel', undefined] as const)('is fine for %s', mode => {
    expect(new Set(Object.values(states(all, { mode, driver: 'auto' })))).toEqual(new Set(['ok']))
  })

  test('is told what the configuration does not use of it, and nothing where it uses all', () => {
    const offload = { tun: 'all', gso: true, gro: true } as const
    const told = (wanted: Intent['wanted']) =>
      findingsOf(all, { mode: 'kernel', driver: 'auto', wanted }).find(({ name }) => name === 'switched off')?.text
    expect(told({ offload, records: 'auto', streams: 'own' })).toBeUndefined()
    expect(told({ offload: { tun: 'plain', gso: false, gro: false }, records: 'node', streams: 'node' })).toBe(
      'dataPlane: offload.tun plain, offload.gso false, offload.gro false, records node, streams node',
    )
  })

  test('gets several threads where it wants them', () => {
    expect(findingsOf(all, { mode: 'translate', driver: 'worker', workers: 4 }).at(-1)!.text).toMatch(/4 threads/)
    const facts = { ...all, tun: { ...all.tun, multiQueue: false } }
    expect(states(facts, { mode: 'kernel', driver: 'worker', workers: 4 })['data plane']).toBe('missing')
  })

  test('gets a thread for the data plane where there is a TUN, and for sockets the event loop', () => {
    const text = (mode: Intent['mode']) => findingsOf(all, { mode, driver: 'auto' }).at(-1)!.text
    expect(text('translate')).toMatch(/^driver worker/)
    expect(text('sockets')).toMatch(/^driver loop/)
  })
})

describe('a host that has nothing', () => {
  test('is good enough for sockets', () => {
    expect(Object.values(states(nothing, { mode: 'sockets', driver: 'auto' }))).not.toContain('missing')
  })

  test('lacks what a TUN needs', () => {
    expect(states(nothing, { mode: 'translate', driver: 'auto' })).toMatchObject({
      FFI: 'missing',
      TUN: 'missing',
      nftables: 'missing',
      'UDP batches': 'less',
      'DTLS records': 'less',
    })
  })

  test('has no thread for a data plane that wants one', () => {
    expect(states(nothing, { mode: 'kernel', driver: 'worker' })['data plane']).toBe('missing')
  })
})

test('a port in use is missing whatever the way out', () => {
  const facts = { ...all, ports: [{ name: 'TCP 443', obstacle: 'EADDRINUSE' }] }
  expect(states(facts, { mode: 'sockets', driver: 'auto' })['TCP 443']).toBe('missing')
})

test.each([
  [{ ...all, tun: { ...all.tun, datagramSegmentation: false } }, 'TUN offload', /those of TCP are used/],
  [
    { ...all, datagrams: { native: true, gso: false, gro: true, reason: 'no UDP_SEGMENT' } },
    'UDP offload',
    /one by one/,
  ],
  [{ ...all, records: { kind: 'evp', reason: 'self-test' } as const }, 'DTLS records', /ordinary calls/],
])('what is used instead is said (%#)', (facts, name, pattern) => {
  const finding = findingsOf(facts, { mode: 'kernel', driver: 'auto' }).find(found => found.name === name)!
  expect(finding.state).toBe('less')
  expect(findingLine(finding)).toMatch(pattern)
})
