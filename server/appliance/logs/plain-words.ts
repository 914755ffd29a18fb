/** What a sentence of the log means to somebody who has never run a server. */
export interface PlainWords {
  readonly text: string;
  readonly nextStep?: string;
  readonly page?: string;
}

const NOTHING_TO_DO = 'Nothing to do: Hearth tries again by itself.';
const REPORT = 'If it comes back, the log and its details help those who look after Hearth.';
const DISK = 'Look whether the disk is full, connected and healthy.';

/** By the sentences of the log. What is not here is shown as it is. */
export const plainWords: Readonly<Record<string, PlainWords>> = {
  'an option has no effect': {
    text: 'An option in homeserver.yaml has no effect here.',
    nextStep: 'Take it out, or do as the details say.',
    page: 'settings',
  },
  'the homeserver could not be started': {
    text: 'The server could not be started.',
    nextStep: 'The page of the state of things says why.',
    page: 'status',
  },
  'the way here could not be looked at': {
    text: 'Whether this server can be reached could not be checked.',
    nextStep: 'Run the check yourself: it says why.',
    page: 'reach',
  },
  'the homeserver did not stop properly': {
    text: 'The server could not be stopped properly.',
    nextStep: REPORT,
    page: 'logs',
  },
  'the backup of the schedule has failed': {
    text: 'The backup of the schedule could not be made.',
    nextStep: 'Look at the page of backups: it says why, and when it is tried again.',
    page: 'backups',
  },
  'an old backup could not be removed': {
    text: 'An old backup that is not to be kept any longer could not be deleted.',
    nextStep: 'Delete it yourself: the disk of the backups fills up otherwise.',
    page: 'backups',
  },
  'a restoration that was interrupted is finished': {
    text: 'Restoring a backup was broken off, and has been brought to its end now.',
    nextStep: 'Nothing to do. What was there before is kept beside it.',
    page: 'backups',
  },
  'storage failed': {
    text: 'Something could not be written to or read from the disk.',
    nextStep: DISK,
    page: 'status',
  },
  'transaction could not be rolled back': { text: 'A change to the database went wrong.', nextStep: REPORT },
  'there is no space left for media': {
    text: 'A file could not be stored: the disk is full.',
    nextStep: 'Free some space, or remove old media.',
    page: 'media',
  },
  'the file of a medium is lost': {
    text: 'A picture or file that was stored here is missing on the disk.',
    nextStep: 'If it matters, restore a backup that has it.',
    page: 'backups',
  },
  'media could not be tidied up': { text: 'Old media could not be cleared away.', nextStep: NOTHING_TO_DO },
  'a media file could not be deleted yet': { text: 'A removed file is still in use.', nextStep: NOTHING_TO_DO },
  'the process that draws thumbnails does not work': {
    text: 'Small versions of pictures cannot be made.',
    nextStep: 'Restart the server. If that does not help, install Hearth anew.',
  },
  'the process that draws thumbnails ended over a picture': { text: 'A picture was too broken to be shown small.' },
  'a thumbnail took too long to draw': { text: 'A picture was too large to be shown small in time.' },
  'the queue of mails stands still': {
    text: 'Mails cannot be sent.',
    nextStep: 'Look whether name, port and password of the mail server in the settings are right.',
    page: 'settings',
  },
  'a mail could not be delivered and is given up': {
    text: 'A mail could not be delivered.',
    nextStep: 'Look whether the address is right.',
  },
  'a mail to verify an address could not be sent': {
    text: 'A mail to confirm an address could not be sent.',
    nextStep: 'Look whether the mail server in the settings is right.',
    page: 'settings',
  },
  'keys could not be fetched': {
    text: 'The keys of another server could not be had, so that its messages have to wait.',
    nextStep: NOTHING_TO_DO,
  },
  'too many servers wait to be asked for their keys': { text: 'Very many servers write at once; some have to wait.' },
  'a server’s keys are of no use': { text: 'Another server shows keys that cannot be trusted.' },
  'a key server’s answer is of no use': { text: 'A server that vouches for keys gave an answer of no use.' },
  'a key server gave no list of keys': { text: 'A server that vouches for keys did not answer properly.' },
  'sending to a server failed': { text: 'Something could not be sent to another server.', nextStep: NOTHING_TO_DO },
  'a server lags so far behind that messages to it were dropped': {
    text: 'Another server has not answered for so long that older messages for it are kept no longer.',
    nextStep: 'When it is back, it can fetch them from us.',
  },
  'what an event lacks could not be fetched': {
    text: 'A message from another server waits for something that could not be fetched.',
    nextStep: NOTHING_TO_DO,
  },
  'an event was dropped': { text: 'A message from another server was refused, as the rules demand.' },
  'an event was given up': { text: 'A message from another server could not be placed in its room and was given up.' },
  'an event of another server could not be stored': { text: 'A message could not be stored.', nextStep: REPORT },
  'what became of staged events could not be stored': { text: 'Messages could not be stored.', nextStep: DISK },
  'fetching history failed': { text: 'Older messages of a room could not be fetched.', nextStep: NOTHING_TO_DO },
  'device list not fetched': {
    text: 'The devices of somebody on another server could not be had; encryption to them may wait.',
    nextStep: NOTHING_TO_DO,
  },
  'EDU failed': { text: 'Something short-lived from another server could not be taken.', nextStep: REPORT },
  'EDU takes long; the next goes ahead': { text: 'Something from another server took unusually long.' },
  'follower failed': { text: 'A task in the background failed.', nextStep: NOTHING_TO_DO },
  'request failed': { text: 'A request of a client ended in an error of the server.', nextStep: REPORT, page: 'logs' },
  'reply broke off': { text: 'An answer could not be sent to its end.' },
  'listener failed': {
    text: 'The server cannot be reached on one of its ports any more.',
    nextStep: 'Restart the server.',
    page: 'status',
  },
  'too many connections, one was refused': {
    text: 'More connections were open than the server allows.',
    nextStep: 'If nobody of yours does that, somebody may be attacking it.',
  },
  'no IPv6 on this machine, address left out': { text: 'This machine has no IPv6; the server does without.' },
  'a pusher failed': { text: 'Notifications to a device could not be sent.', nextStep: NOTHING_TO_DO },
  'a notification was given up': { text: 'A notification could not be delivered to a device for a long time.' },
  'the application service did not take a transaction': {
    text: 'A bridge or bot does not answer.',
    nextStep: 'Look whether its program runs.',
  },
  'a pattern of an application service takes too long': {
    text: 'The registration of a bridge has a pattern that is too slow.',
    nextStep: 'Tell those who look after the bridge.',
  },
  'a room could not be left': { text: 'Somebody could not leave a room.', nextStep: NOTHING_TO_DO },
  'a deactivated user could not leave everything': {
    text: 'Somebody who is no longer here could not leave all rooms yet.',
    nextStep: NOTHING_TO_DO,
  },
  'a new user could not be joined to a room': { text: 'A new person could not be put into a room.' },
  'automatic joins failed; the next start tries again': {
    text: 'New people could not be put into the rooms meant for them.',
    nextStep: NOTHING_TO_DO,
  },
  'could not be reloaded, goes on as before': {
    text: 'The changed configuration cannot be used; the server goes on with the old one.',
    nextStep: 'The details name what is wrong with it.',
    page: 'settings',
  },
  'a template cannot be used': {
    text: 'A template for mails or pages has a mistake.',
    nextStep: 'Correct the file that the details name.',
  },
  'a directory of templates cannot be read': {
    text: 'The folder with templates of your own cannot be read.',
    nextStep: 'Look whether it is there, and whether Hearth may read it.',
    page: 'settings',
  },
  'a job failed': { text: 'Something that takes long failed.', page: 'status' },
  'uncaught error': { text: 'The program had to end because of an error.', nextStep: REPORT, page: 'logs' },
  'ended in the middle of stopping': { text: 'The program was ended before it had stopped properly.' },
  'could not stop in time': { text: 'The program took too long to stop and was ended.' },
};
