import type { GatewayConfig } from '../../src/config/gateway-config.ts'
import type { GatewayOptions } from '../../src/config/gateway-options.ts'
import { resolveGatewayOptions } from '../../src/config/resolve-options.ts'

/** A configuration whose files nobody looks at: for everything but starting a gateway. */
export function configOf(options: Partial<GatewayOptions> = {}): GatewayConfig {
  const { config, problems } = resolveGatewayOptions(
    {
      tls: { certificate: '/nowhere/gateway.crt', key: '/nowhere/gateway.key' },
      pool: { ipv4: '10.77.0.0/24', ipv6: 'fd77::/64' },
      auth: { users: '/nowhere/users.yaml' },
      ...options,
    },
    path => path,
  )
  if (!config) throw new RangeError(problems.map(({ message }) => message).join('\n'))
  return config
}
