import type { LabNetwork } from './lab-network.ts'

/** Lets the gateway's kernel forward, and translate what comes from pools to its own addresses on the corporate side. */
export async function masquerade(network: LabNetwork, pools: readonly string[]): Promise<void> {
  const rules = pools.map(pool => `${pool.includes(':') ? 'ip6' : 'ip'} saddr ${pool} oifname "lan0" masquerade`)
  await network.mustRun('gateway', 'sysctl', ['-qw', 'net.ipv4.ip_forward=1', 'net.ipv6.conf.all.forwarding=1'])
  await network.mustRun('gateway', 'nft', ['-f', '-'], {
    input: `table inet lab_nat {\nchain post { type nat hook postrouting priority srcnat; ${rules.join('; ')}; }\n}`,
  })
}
