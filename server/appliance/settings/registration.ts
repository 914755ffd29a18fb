import type { Registration, RegistrationMode } from '../contract.ts';
import type { ConfigReading } from './port.ts';

/** What these say by themselves or together is the mode. */
export const MODE_OPTIONS: ReadonlySet<string> = new Set([
  'enable_registration',
  'enable_registration_without_verification',
  'registration_requires_token',
]);

/** Who may make an account, as the configuration has it. */
export function readRegistration(reading: Pick<ConfigReading, 'value'>): Registration {
  const isOn = (option: string): boolean => reading.value(option) === true;
  const needsAddress = reading.value('registrations_require_3pid');
  const hasCheck = isOn('enable_registration_captcha') || (Array.isArray(needsAddress) && needsAddress.length > 0);
  const onlyAtHome = isEmptyList(reading.value('federation_domain_whitelist'));
  const mode: RegistrationMode = !isOn('enable_registration')
    ? 'closed'
    : isOn('registration_requires_token')
      ? 'invitation'
      : 'open';
  const reasons: string[] = [];
  if (!hasCheck) {
    reasons.push(
      'Anybody who reaches this server can make accounts, as many as they like, without a captcha or a mail address.',
    );
    if (!onlyAtHome) {
      reasons.push(
        'Servers that are open like this are found within days and used to send spam. Others then refuse to talk to them, and your people are cut off.',
      );
    }
  }
  return { mode, openIsSafe: hasCheck || onlyAtHome, reasons };
}

/** What to write into the configuration for it. */
export function registrationChanges(
  mode: RegistrationMode,
  reading: Pick<ConfigReading, 'value'>,
): Readonly<Record<string, boolean | undefined>> {
  const needsAddress = reading.value('registrations_require_3pid');
  const hasCheck =
    reading.value('enable_registration_captcha') === true || (Array.isArray(needsAddress) && needsAddress.length > 0);
  switch (mode) {
    case 'closed':
      return { enable_registration: false, enable_registration_without_verification: undefined };
    case 'invitation':
      return {
        enable_registration: true,
        registration_requires_token: true,
        enable_registration_without_verification: undefined,
      };
    case 'open':
      return {
        enable_registration: true,
        registration_requires_token: undefined,
        // A configuration that lets anybody in has to say so in so many words.
        enable_registration_without_verification: hasCheck ? undefined : true,
      };
  }
}

function isEmptyList(value: unknown): boolean {
  return Array.isArray(value) && value.length === 0;
}
