import { readFileSync } from 'node:fs'
import { Command, InvalidArgumentError } from 'commander'
import type { ConnectCommandOptions } from './connect-command.ts'
import type { DemoCommandOptions } from './demo-command.ts'
import type { ExplainOptions } from './policy-commands.ts'
import type { ProgramContext } from './program-context.ts'
import type { UserCommandOptions } from './user-commands.ts'

// The words of the program. What they do is in the command files, which are loaded when their command runs, so that help
// and mistakes in the words are answered at once.

/** Builds the `twinbore` program. Usage errors and help leave `parseAsync` as a `CommanderError`. */
export function buildProgram(context: ProgramContext): Command {
  const program = new Command('twinbore')
    .description(
      'A VPN gateway and client with two channels: TLS over TCP and DTLS over UDP.\nStock OpenConnect clients can use the gateway; the client can use stock ocserv servers.',
    )
    .version(version(), '-V, --version', 'print the version')
    .helpOption('-h, --help', 'print help')
    .helpCommand('help [command]', 'print help of a command')
    .showHelpAfterError('(twinbore --help says more)')
    .addHelpText('after', overview)
  prepare(program, context)

  addGatewayCommands(program, context)
  addDoctorCommand(program, context)
  addUserCommands(program, context)
  addPolicyCommands(program, context)
  addConnectCommand(program, context)
  addDemoCommand(program, context)
  return program
}

function addGatewayCommands(program: Command, context: ProgramContext): void {
  program
    .command('gateway')
    .description('run the gateway until a signal ends it')
    .requiredOption('-c, --config <file>', 'configuration file (YAML)')
    .addHelpText('after', gatewayHelp)
    .action(async (options: { config: string }) => {
      const [{ gatewayCommand }, { Gateway }] = await Promise.all([
        import('./gateway-command.ts'),
        import('../../control-plane/io/gateway.ts'),
      ])
      await gatewayCommand(options, context, (config, log) => new Gateway(config, { log, preferredDriver: 'worker' }))
    })

  program
    .command('check-config')
    .description('find every mistake in a configuration, and in the files it names')
    .requiredOption('-c, --config <file>', 'configuration file (YAML)')
    .option('--effective', 'print the configuration as the gateway reads it, with defaults and environment, as JSON')
    .addHelpText('after', checkConfigHelp)
    .action(async (options: { config: string; effective?: boolean }) => {
      const { checkConfigCommand } = await import('./check-config-command.ts')
      await checkConfigCommand(options, context)
    })
}

function addDoctorCommand(program: Command, context: ProgramContext): void {
  program
    .command('doctor')
    .description('say what this computer offers a gateway, and what is used instead of what it does not')
    .option('-c, --config <file>', 'also say whether the gateway of this configuration could start')
    .addHelpText('after', doctorHelp)
    .action(async (options: { config?: string }) => {
      const { doctorCommand } = await import('./doctor-command.ts')
      await doctorCommand(options, context)
    })
}

function addUserCommands(program: Command, context: ProgramContext): void {
  const user = program.command('user').description('manage the users of a users file').addHelpText('after', userHelp)
  const add = (name: string, description: string) =>
    user.command(name).description(description).requiredOption('-u, --users <file>', 'users file (YAML)')
  const load = () => import('./user-commands.ts')

  add('add <name>', 'add a user; the password comes from the terminal or from standard input')
    .option('--password-file <file>', 'take the password from the first line of a file')
    .option('--otp', 'also ask this user for one-time codes, and print the secret for an authenticator app')
    .option('--group <name>', 'put the user into a group; can be repeated', collect)
    .action(async (name: string, options: UserCommandOptions & { otp?: boolean; group?: string[] }) =>
      (await load()).addUserCommand(name, options, context),
    )
  add('set-password <name>', 'give a user another password')
    .option('--password-file <file>', 'take the password from the first line of a file')
    .action(async (name: string, options: UserCommandOptions) =>
      (await load()).setPasswordCommand(name, options, context),
    )
  add('remove <name>', 'remove a user').action(async (name: string, options: UserCommandOptions) =>
    (await load()).removeUserCommand(name, options, context),
  )
  add('list', 'list the users')
    .option('--json', 'as JSON')
    .action(async (options: UserCommandOptions & { json?: boolean }) =>
      (await load()).listUsersCommand(options, context),
    )
}

function addPolicyCommands(program: Command, context: ProgramContext): void {
  const policy = program
    .command('policy')
    .description('explain and test an access policy')
    .addHelpText('after', policyHelp)
  const load = () => import('./policy-commands.ts')

  policy
    .command('explain')
    .description('say what a policy decides of somebody, by which rule and why')
    .requiredOption('-p, --policy <file>', 'policy file (YAML)')
    .option('--claims <file>', 'claims of a token (JSON or YAML)')
    .option('--facts <file>', 'what else is known: user, groups, method, device, userAgent, address, at (YAML)')
    .option('--json', 'as JSON')
    .action(async (options: ExplainOptions) => (await load()).explainCommand(options, context))
  policy
    .command('test <file>')
    .description('decide the cases of a file, and compare; exit code 1 when one differs')
    .action(async (file: string) => (await load()).testPolicyCommand(file, context))
}

function addConnectCommand(program: Command, context: ProgramContext): void {
  program
    .command('connect')
    .description('connect this computer to a gateway (ours, or ocserv) until a signal ends it')
    .argument('<url>', 'gateway, such as https://vpn.example.com or vpn.example.com:8443')
    .option('-u, --user <name>', 'user name')
    .option('--password-file <file>', 'take the password from the first line of a file')
    .option(
      '--server-pin <pin>',
      "trust only the gateway with this key: pin-sha256:... ('twinbore gateway' logs it)",
      pin,
    )
    .option('--ca <file>', "trust the authorities of a PEM file instead of the system's")
    .option('--cert <file>', 'client certificate (PEM)')
    .option('--key <file>', 'key of the client certificate (PEM); default: in the file of --cert')
    .option('-i, --interface <name>', 'name of the tunnel interface')
    .option('--no-datagram', 'use the stream channel only')
    .option('--no-routes', "leave the host's routes alone")
    .option('--log <level>', 'debug, info, warn, error or silent', logLevel, 'info')
    .addHelpText('after', connectHelp)
    .action(async (url: string, options: ConnectCommandOptions) => {
      const [{ connectCommand }, { programTunnel }] = await Promise.all([
        import('./connect-command.ts'),
        import('../../client/io/connect.ts'),
      ])
      await connectCommand(url, options, context, programTunnel)
    })
}

function addDemoCommand(program: Command, context: ProgramContext): void {
  program
    .command('demo')
    .description('run a gateway with an identity of its own, send traffic through it, and say what happened')
    .option('--once', 'end after the traffic: exit code 0, or 1 with the reason')
    .option(
      '--directory <folder>',
      'where the identity and the user are kept (default: .twinbore, or, where that cannot be written, a temporary folder)',
    )
    .option('--address <address>', 'address that the gateway listens on', '127.0.0.1')
    .option('--port <port>', 'port of the gateway; 0 lets the system choose', port, 8443)
    .addHelpText('after', demoHelp)
    .action(async (options: DemoCommandOptions) => {
      const [{ demoCommand }, { demonstrate }] = await Promise.all([
        import('./demo-command.ts'),
        import('../../demo/io/demonstrate.ts'),
      ])
      await demoCommand(options, context, demonstrate)
    })
}

/** Output through the context, and exceptions in place of exits; subcommands inherit both. */
function prepare(command: Command, { stdout, stderr }: ProgramContext): void {
  command.exitOverride().configureOutput({
    writeOut: text => void stdout.write(text),
    writeErr: text => void stderr.write(text),
  })
}

function version(): string {
  const manifest = readFileSync(new URL('../../../package.json', import.meta.url), 'utf8')
  return (JSON.parse(manifest) as { version: string }).version
}

function collect(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value]
}

function pin(text: string): string {
  if (/^pin-sha256:[A-Za-z0-9+/]{43}=$/.test(text)) return text
  throw new InvalidArgumentError('A pin is pin-sha256: and 44 characters of base64.')
}

function port(text: string): number {
  const value = Number(text)
  if (/^\d{1,5}$/.test(text) && value <= 65_535) return value
  throw new InvalidArgumentError('A port is a number from 0 to 65535.')
}

function logLevel(text: string): string {
  if (['debug', 'info', 'warn', 'error', 'silent'].includes(text)) return text
  throw new InvalidArgumentError('A level is one of debug, info, warn, error, silent.')
}

const overview = `
A gateway in four steps:
  $ twinbore user add anna --users users.yaml
  $ twinbore check-config --config gateway.yaml
  $ sudo twinbore gateway --config gateway.yaml
  $ sudo openconnect https://vpn.example.com          (on another computer)

gateway.yaml, as short as it gets:
  tls:    { certificate: site.crt, key: site.key }
  pool:   { ipv4: 192.168.77.0/24 }
  routes: { include: [10.2.0.0/24] }
  auth:   { users: users.yaml }

Exit codes: 0 it went well, 1 it failed, 2 wrong words on the command line, 78 a mistake in the configuration.`

const gatewayHelp = `
Signals:
  SIGHUP           take configuration, users and certificate anew; sessions are kept
  SIGTERM, SIGINT  tell the clients, finish, take everything back; a second one: at once

Environment: TWINBORE_<SECTION>_<KEY> overrides a setting of the file, lists are separated by commas:
  $ TWINBORE_LISTEN_PORT=8443 TWINBORE_DNS_SERVERS=10.2.0.2,10.2.0.3 twinbore gateway --config gateway.yaml

Standard output gets one line when the gateway is ready; the log goes to standard error.`

const checkConfigHelp = `
Examples:
  $ twinbore check-config --config gateway.yaml
  gateway.yaml:7: pool.ipv4: '192.168.77.0/33' is not an IPv4 prefix; write e.g. 192.168.77.0/24
  $ twinbore check-config --config gateway.yaml --effective | jq .session`

const doctorHelp = `
Examples:
  $ twinbore doctor
  $ sudo twinbore doctor --config gateway.yaml

One line for each thing: ok, less (with what is used instead), or missing (the gateway can't start; exit code 1). A running
gateway has its ports in use: they are found missing then.`

const userHelp = `
Examples:
  $ twinbore user add anna --users users.yaml
  $ twinbore user add ben --users users.yaml --otp --group staff < password.txt
  $ twinbore user list --users users.yaml

A running gateway takes the changes on SIGHUP.`

const policyHelp = `
Examples:
  $ twinbore policy explain --policy policy.yaml --claims token.json
  allow anna@corp.example, by rule 'staff'
    not    old clients: user agent is not known
    holds  staff: in group staff
  $ twinbore policy test policy.test.yaml

policy.test.yaml:
  policy: policy.yaml
  cases:
    - name: staff get in
      given:  { groups: [staff], device: { compliant: true } }
      expect: { effect: allow, rule: staff, reaches: ['tcp 10.2.0.5:443'] }`

const connectHelp = `
Examples:
  $ sudo twinbore connect https://vpn.example.com --user anna
  $ sudo twinbore connect vpn.example.com:8443 --user anna --ca ca.crt --password-file secret.txt
  $ sudo twinbore connect https://vpn.example.com --cert anna.crt --key anna.key
  $ echo "$PASSWORD" | sudo twinbore connect https://vpn.example.com --user anna --server-pin pin-sha256:...

Without --password-file the password is asked for on the terminal, or read from standard input: its first line, and the
following lines for further questions such as one-time codes.`

const demoHelp = `
Examples:
  $ twinbore demo
  $ twinbore demo --once --port 0

It needs no rights: the gateway, its client and a small web server beyond it are parts of this process. Its traffic stays on
loopback.`
