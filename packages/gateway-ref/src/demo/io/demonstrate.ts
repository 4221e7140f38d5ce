import { dirname, join, relative } from 'node:path'
import type { Demonstration } from '../../cli/io/demo-command.ts'
import { untilStopped } from '../../cli/io/until-stopped.ts'
import { GatewayError } from '../../errors.ts'
import { replaceFile } from '../../io/replace-file.ts'
import { createLogger } from '../../log/io/create-logger.ts'
import { invitation } from '../demo-report.ts'
import { namespaceScript } from '../namespace-script.ts'
import { Show } from './show.ts'

/** Runs the demonstration: once, or until a signal ends it. */
export const demonstrate: Demonstration = async (setup, { once, address, port }, context) => {
  const log = createLogger({ level: 'warn', format: 'text' }, context.stderr, context.environment)
  const script = join(dirname(setup.passwordFile), 'own-namespace.sh')
  await replaceFile(script, { mode: 0o755 }, () => namespaceScript)
  const print = (text: string) => void context.stdout.write(text)
  const show = new Show({ setup, address, port, print, log })
  await untilStopped(show, context, {
    ready: () => {
      if (once) {
        void show.stop()
        return
      }
      const { url, pin, intranetAddress } = show
      const sudo = process.getuid?.() !== 0
      print(invitation({ ...setup, url, pin, intranet: intranetAddress, script, program: programName(), sudo }))
      show.announceSessions()
    },
    log,
  })
  if (once && !show.played) throw new GatewayError('ERR_GATEWAY_ABORTED', 'stopped before the demonstration was over')
}

/** How a terminal in this folder would call this program. */
function programName(): string {
  const script = process.argv[1] ?? 'twinbore'
  return script.endsWith('.js') ? `node ${relative(process.cwd(), script)}` : script
}
