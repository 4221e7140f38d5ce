import { IpAddress, Prefix, SplitTunnelPolicy, type SplitTunnelRules } from '@twinbore/core/address'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'

const rules = { include: ['10.0.0.0/8', '192.168.0.0/255.255.0.0', 'fd00::/8'], exclude: ['10.1.0.0/16', '10.1.2.3'] }
const codes = (rules: SplitTunnelRules, options = {}) =>
  SplitTunnelPolicy.read(rules, options).problems.map(problem => problem.code)

describe('explain', () => {
  test.each<[SplitTunnelRules, string, string, string]>([
    [rules, '10.2.0.1', 'include', '10.2.0.1 goes through the tunnel: include rule 10.0.0.0/8 is the longest match'],
    [
      rules,
      '10.1.0.1',
      'exclude',
      '10.1.0.1 stays outside the tunnel: exclude rule 10.1.0.0/16 is longer than include rule 10.0.0.0/8',
    ],
    [rules, '8.8.8.8', 'exclude', '8.8.8.8 stays outside the tunnel: no rule matches, and there are include rules'],
    [
      rules,
      '2001:db8::1',
      'exclude',
      '2001:db8::1 stays outside the tunnel: no rule matches, and there are include rules',
    ],
    [
      {},
      '8.8.8.8',
      'include',
      '8.8.8.8 goes through the tunnel: no rule matches, and without include rules everything does',
    ],
    [
      { exclude: ['8.8.8.0/24'] },
      '8.8.8.8',
      'exclude',
      '8.8.8.8 stays outside the tunnel: exclude rule 8.8.8.0/24 is the longest match',
    ],
    [
      { include: ['10.0.0.0/8'], exclude: ['10.0.0.0/8'] },
      '10.0.0.1',
      'exclude',
      '10.0.0.1 stays outside the tunnel: exclude rule 10.0.0.0/8 prevails over the include rule of the same prefix',
    ],
    [
      { include: ['10.0.0.0/8', '10.1.2.0/24'], exclude: ['10.1.0.0/16'] },
      '10.1.2.9',
      'include',
      '10.1.2.9 goes through the tunnel: include rule 10.1.2.0/24 is longer than exclude rule 10.1.0.0/16',
    ],
  ])('%j: %s is %s', (rules, address, decision, reason) => {
    const policy = SplitTunnelPolicy.of(rules)
    expect(policy.explain(address)).toMatchObject({ decision, reason })
    expect(policy.includes(IpAddress.of(address))).toBe(decision === 'include')
  })

  test('names the rule that decided and where it was written', () => {
    const { rule } = SplitTunnelPolicy.of(rules).explain('10.1.0.1')
    expect(rule).toEqual({ prefix: Prefix.of('10.1.0.0/16'), decision: 'exclude', index: 0 })
  })

  test('refuses what is no address', () => {
    expect(() => SplitTunnelPolicy.of(rules).explain('nonsense')).toThrow(RangeError)
  })
})

test('what clients get is sorted, normalised and without duplicates', () => {
  const policy = SplitTunnelPolicy.of({ include: ['fd00::/8', '10.2.3.4/16', '10.2.0.0/16', '10.1.0.0/255.255.0.0'] })
  expect(policy.include.map(String)).toEqual(['10.1.0.0/16', '10.2.0.0/16', 'fd00::/8'])
  expect(policy.exclude).toEqual([])
})

describe('problems', () => {
  test('good rules have none', () => {
    expect(codes({ include: ['10.0.0.0/8'], exclude: ['10.1.0.0/16'] })).toEqual([])
    expect(codes({ exclude: ['10.1.0.0/16'] })).toEqual([])
  })

  test.each<[string, SplitTunnelRules, string]>([
    ['host-bits', { include: ['10.1.2.3/8'] }, "include rule '10.1.2.3/8' has host bits set: it is read as 10.0.0.0/8"],
    ['duplicate', { include: ['10.0.0.0/8', '10.0.0.0/255.0.0.0'] }, 'include rule 10.0.0.0/8 is there twice'],
    [
      'same-prefix-in-both',
      { include: ['10.0.0.0/8'], exclude: ['10.0.0.0/8'] },
      '10.0.0.0/8 is both included and excluded: it stays outside the tunnel',
    ],
    [
      'include-inside-exclude',
      { include: ['10.1.2.0/24', '10.0.0.0/8'], exclude: ['10.1.0.0/16'] },
      'include rule 10.1.2.0/24 lies inside exclude rule 10.1.0.0/16: clients that follow the longest prefix tunnel it, clients that subtract excludes do not',
    ],
    [
      'exclude-without-effect',
      { include: ['10.0.0.0/8'], exclude: ['192.168.0.0/16'] },
      'exclude rule 192.168.0.0/16 has no effect: no include rule overlaps it',
    ],
    [
      'default-route',
      { include: ['0.0.0.0/0'] },
      'include rule 0.0.0.0/0 is everything: an empty include list means everything',
    ],
  ])('warning %s', (code, rules, message) => {
    const { policy, problems } = SplitTunnelPolicy.read(rules)
    expect(problems.map(problem => [problem.severity, problem.code, problem.message])).toEqual([
      ['warning', code, message],
    ])
    expect(policy).toBeDefined()
  })

  test.each<[string, SplitTunnelRules, string]>([
    [
      'not-a-prefix',
      { exclude: ['10.0.0.0/33'] },
      "exclude rule '10.0.0.0/33' is no prefix such as 10.0.0.0/8, 10.0.0.0/255.0.0.0 or fd00::/8",
    ],
    [
      'ipv4-mapped',
      { include: ['::ffff:10.0.0.0/104'] },
      'include rule ::ffff:10.0.0.0/104 is IPv4 in IPv6 form, which no packet carries: write 10.0.0.0/8',
    ],
  ])('error %s', (code, rules, message) => {
    const { policy, problems } = SplitTunnelPolicy.read(rules)
    expect(problems.map(problem => [problem.severity, problem.code, problem.message])).toEqual([
      ['error', code, message],
    ])
    expect(policy).toBeUndefined()
    expect(() => SplitTunnelPolicy.of(rules)).toThrow(message)
  })

  test('host bits are an error where they are to be rejected', () => {
    const { policy, problems } = SplitTunnelPolicy.read({ include: ['10.1.2.3/8'] }, { hostBits: 'reject' })
    expect(problems[0]).toMatchObject({
      severity: 'error',
      message: "include rule '10.1.2.3/8' has host bits set: write 10.0.0.0/8",
    })
    expect(policy).toBeUndefined()
  })

  test('every problem is reported at once, with its place', () => {
    const { problems } = SplitTunnelPolicy.read({ include: ['10.0.0.0/8', 'nonsense'], exclude: ['x', '10.1.1.1/16'] })
    expect(problems.map(({ code, list, index }) => [code, list, index])).toEqual([
      ['not-a-prefix', 'include', 1],
      ['not-a-prefix', 'exclude', 0],
      ['host-bits', 'exclude', 1],
    ])
  })
})

describe('the limit of 500 rules, shared by include and exclude', () => {
  /** Networks that have no neighbour to melt with. */
  const apart = (count: number, block: number) =>
    Array.from({ length: count }, (_, i) => `10.${block + (i >> 7)}.${(i & 127) * 2}.0/24`)
  const within = { include: ['10.0.0.0/8', ...apart(298, 0)], exclude: apart(201, 100) }

  test('500 pass with a warning and none is left out', () => {
    const { policy, problems } = SplitTunnelPolicy.read(within)
    expect(problems.map(problem => problem.message)).toEqual([
      '500 split-tunnel rules (299 include, 201 exclude), 202 when aggregated: the limit is 500 shared by both lists',
    ])
    expect([policy!.include.length, policy!.exclude.length]).toEqual([299, 201])
    expect(policy!.ruleCount).toEqual({ written: 500, aggregated: 202 })
  })

  test('the 501st is an error that tells both counts', () => {
    const { policy, problems } = SplitTunnelPolicy.read({ ...within, exclude: [...within.exclude, '10.200.0.0/16'] })
    expect(policy).toBeUndefined()
    expect(problems).toEqual([
      {
        severity: 'error',
        code: 'too-many-rules',
        message:
          '501 split-tunnel rules (299 include, 202 exclude) exceed the limit of 500 shared by both lists; ' +
          'aggregated they would be 203, which would fit',
      },
    ])
  })

  test('counts what is left where rules are aggregated', () => {
    const many = { include: Array.from({ length: 600 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`) }
    expect(codes(many)).toEqual(['too-many-rules'])
    const policy = SplitTunnelPolicy.of(many, { aggregate: true })
    expect(policy.include.map(String)).toEqual(['10.0.0.0/15', '10.2.0.0/18', '10.2.64.0/20', '10.2.80.0/21'])
    const scattered = { include: apart(600, 0) }
    expect(SplitTunnelPolicy.read(scattered, { aggregate: true }).problems[0]?.message).toContain(
      'even aggregated they are 600',
    )
  })

  test('no warning below 250, both numbers are settings', () => {
    expect(codes({ include: apart(249, 0) })).toEqual([])
    expect(codes({ include: apart(250, 0) })).toEqual(['many-rules'])
    expect(codes({ include: apart(3, 0) }, { maxRules: 2 })).toEqual(['too-many-rules'])
    expect(codes({ include: apart(600, 0) }, { maxRules: 1000, warnFromRules: 1000 })).toEqual([])
  })
})

describe('aggregated rules', () => {
  const base = IpAddress.of('10.0.0.0').toNumber()
  const universe = Array.from({ length: 256 }, (_, i) => IpAddress.fromNumber(base + BigInt(i), 4))
  const outside = IpAddress.of('203.0.113.1')
  const prefixes = fc.array(
    fc
      .tuple(fc.nat({ max: 255 }), fc.nat({ max: 8 }))
      .map(([start, hostBits]) => Prefix.of(IpAddress.fromNumber(base + BigInt(start), 4), 32 - hostBits)),
    { maxLength: 10 },
  )

  test('decide every address as those written do, and are never more', () => {
    fc.assert(
      fc.property(prefixes, prefixes, (include, exclude) => {
        const written = SplitTunnelPolicy.of({ include, exclude })
        const aggregated = SplitTunnelPolicy.of({ include, exclude }, { aggregate: true })
        // The decisions of a client that knows only the aggregated lists.
        const client = SplitTunnelPolicy.of({ include: aggregated.include, exclude: aggregated.exclude })
        const differing = [...universe, outside].filter(
          address => client.includes(address) !== written.includes(address),
        )
        expect(differing).toEqual([])
        expect(written.ruleCount.aggregated).toBeLessThanOrEqual(Math.max(2, written.ruleCount.written))
      }),
      { numRuns: 400 },
    )
  })

  test('an include rule inside exclude rules is told the longest of them (model)', () => {
    fc.assert(
      fc.property(prefixes, prefixes, (include, exclude) => {
        const { problems } = SplitTunnelPolicy.read({ include, exclude })
        const told = problems
          .filter(problem => problem.code === 'include-inside-exclude')
          .map(({ index, message }) => [index, / inside exclude rule (\S+):/.exec(message)?.[1]])
        const expected = include.flatMap((prefix, index) => {
          const repeated = include.slice(0, index).some(earlier => earlier.equals(prefix))
          if (repeated || exclude.some(other => other.equals(prefix))) return []
          const around = exclude.filter(other => other.covers(prefix)).sort((a, b) => b.length - a.length)[0]
          return around ? [[index, `${around}`]] : []
        })
        expect(told).toEqual(expected)
      }),
      { numRuns: 300 },
    )
  })

  test('the longest prefix decides, exclude wins a tie, nothing means everything (model)', () => {
    fc.assert(
      fc.property(prefixes, prefixes, (include, exclude) => {
        const policy = SplitTunnelPolicy.of({ include, exclude })
        const longest = (all: Prefix[], address: IpAddress) =>
          Math.max(-1, ...all.filter(prefix => prefix.contains(address)).map(prefix => prefix.length))
        const wrong = [...universe, outside].filter(address => {
          const [included, excluded] = [longest(include, address), longest(exclude, address)]
          const expected = included === -1 && excluded === -1 ? include.length === 0 : included > excluded
          const { decision } = policy.explain(address)
          return policy.includes(address) !== expected || decision !== (expected ? 'include' : 'exclude')
        })
        expect(wrong).toEqual([])
      }),
      { numRuns: 150 },
    )
  })
})
