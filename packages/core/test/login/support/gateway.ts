import { createHash } from 'node:crypto'
import { type LoginIdentity, SessionRegistry } from '../../../src/index.ts'
import { ControlListener, type ControlListenerOptions, systemClock, systemRandom } from '../../../src/io/index.ts'
import type { CredentialsAnswer, CredentialsCheck } from '../../../src/protocol/credentials.ts'

export interface TestGateway {
  readonly listener: ControlListener
  readonly registry: SessionRegistry
  readonly port: number
  /** Every check that was asked for. */
  readonly checks: CredentialsCheck[]
  readonly rejections: { reason: string; username?: string; remoteAddress: string }[]
  readonly identities: LoginIdentity[]
  close(): Promise<void>
}

/** A listener on loopback whose users are `alice` (password `correct horse`) and `olga` (`first step`, then code 246810). */
export async function startGateway(
  options: Partial<ControlListenerOptions> & Pick<ControlListenerOptions, 'tls'>,
): Promise<TestGateway> {
  const registry = new SessionRegistry({
    random: systemRandom,
    hash: bytes => createHash('sha256').update(bytes).digest(),
  })
  const checks: CredentialsCheck[] = []
  const identities: LoginIdentity[] = []
  const listener = new ControlListener({
    login: { methods: ['password'] },
    openSession: identity => {
      identities.push(identity)
      const opened = registry.open(identity, systemClock.now())
      return 'refused' in opened ? { refused: opened.refused } : { cookie: opened.cookie }
    },
    ...options,
    checkCredentials: async check => {
      checks.push(check)
      return (options.checkCredentials ?? checkTestUser)(check)
    },
  })
  const rejections: TestGateway['rejections'] = []
  listener.on('login-rejected', event => rejections.push(event))
  const { port } = await listener.listen({ address: '127.0.0.1', port: 0 })
  return { listener, registry, port, checks, rejections, identities, close: () => listener.close(1) }
}

export async function checkTestUser(check: CredentialsCheck): Promise<CredentialsAnswer> {
  if (check.step === 'certificate') return { verdict: check.username === 'mallory' ? 'reject' : 'accept' }
  if (check.step === 'challenge') {
    return check.state === 'code for olga' && check.secret === '246810' ? { verdict: 'accept' } : { verdict: 'reject' }
  }
  if (check.username === 'olga' && check.secret === 'first step') {
    return { verdict: 'challenge', message: 'Enter the code of your token.', state: 'code for olga' }
  }
  const known: Readonly<Record<string, string>> = { alice: 'correct horse', Zoë: 'pässwörd & <more>' }
  return Object.hasOwn(known, check.username) && known[check.username] === check.secret
    ? { verdict: 'accept' }
    : { verdict: 'reject' }
}
