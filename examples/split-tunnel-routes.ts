// Decides which destinations go through a tunnel: reads include and exclude rules, says what is strange about them,
// explains single addresses, and keeps to the limit of rules.
//
//   npx tsx examples/split-tunnel-routes.ts
//
// Prints:
//   warning: include rule '10.20.30.40/16' has host bits set: it is read as 10.20.0.0/16
//   warning: exclude rule 203.0.113.0/24 has no effect: no include rule overlaps it
//   clients install 4 routes into the tunnel and 3 around it
//   10.20.1.1 goes through the tunnel: include rule 10.20.0.0/16 is the longest match
//   10.20.99.1 stays outside the tunnel: exclude rule 10.20.99.0/24 is longer than include rule 10.20.0.0/16
//   fd00:20::1 goes through the tunnel: include rule fd00:20::/32 is the longest match
//   192.0.2.1 stays outside the tunnel: no rule matches, and there are include rules
//   601 split-tunnel rules (600 include, 1 exclude) exceed the limit of 500 shared by both lists; aggregated they would be 5, which would fit
//   the same rules, aggregated: 10.0.0.0/15, 10.2.0.0/18, 10.2.64.0/20, 10.2.80.0/21 without 10.1.0.128/25
//   everything but private IPv4 takes 31 prefixes, the first is 0.0.0.0/5
import { Prefix, PrefixSet, SplitTunnelPolicy } from '@twinbore/core/address'

const { policy, problems } = SplitTunnelPolicy.read({
  include: ['10.20.30.40/16', '172.16.0.0/255.240.0.0', '192.168.7.0/24', 'fd00:20::/32'],
  exclude: ['10.20.99.0/24', '172.31.255.0/24', '203.0.113.0/24'],
})
for (const { severity, message } of problems) console.log(`${severity}: ${message}`)

// `policy` is undefined when a problem is an error. What clients get is sorted and in normal form.
if (!policy) throw new Error('the rules are no good')
console.log(`clients install ${policy.include.length} routes into the tunnel and ${policy.exclude.length} around it`)

for (const address of ['10.20.1.1', '10.20.99.1', 'fd00:20::1', '192.0.2.1']) {
  console.log(policy.explain(address).reason)
}

// The limit is shared by both lists. What is too much is an error, and nothing is left out in silence.
const many = {
  include: Array.from({ length: 600 }, (_, i) => `10.${i >> 8}.${i & 255}.0/24`),
  exclude: ['10.1.0.128/25'],
}
console.log(SplitTunnelPolicy.read(many).problems.find(problem => problem.code === 'too-many-rules')?.message)

// Aggregated rules are fewer and decide every address alike.
const aggregated = SplitTunnelPolicy.of(many, { aggregate: true })
console.log(`the same rules, aggregated: ${aggregated.include.join(', ')} without ${aggregated.exclude.join(', ')}`)

// The algebra underneath: sets of addresses, written as the fewest prefixes.
const privateSpace = PrefixSet.of(['10.0.0.0/8', '172.16.0.0/12', '192.168.0.0/16'].map(text => Prefix.of(text)))
const { prefixes } = PrefixSet.of([Prefix.of('0.0.0.0/0')]).subtract(privateSpace)
console.log(`everything but private IPv4 takes ${prefixes.length} prefixes, the first is ${prefixes[0]}`)
