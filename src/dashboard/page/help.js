// What the figures and pictures mean: a "?" beside each, which opens a sentence or two.

import { make } from './text.js';

const texts = {
  iteration: ['an iteration', 'In an iteration the class computes a set of units, and the server averages them into new weights once. The more are done, the longer the networks have learnt.'],
  epoch: ['an epoch', 'How often each image of the class has been used. 2.5 means: all of them twice, and half of them a third time.'],
  images: ['images per second', 'How many real images all computers of the class work through in a second, over the last ten iterations. More workers make it higher.'],
  rate: ['iterations per minute', 'How often the server has averaged the class’s results, over the last ten iterations.'],
  loss_d: ['the loss of D', 'How wrong the discriminator D is when it tells real images from generated ones. 1.39 is guessing, 0 is never wrong. In between is good: near 0 the generator has nothing to learn from.'],
  loss_g: ['the loss of G', 'How clearly D sees that the generator G’s images are not real. 0.69 is where D guesses. It need not fall, since D gets better, too; above 5 for long, D has won.'],
  swd: ['the distance', 'The sliced Wasserstein distance (SWD) says how much the generated images differ from real ones, all in all. Lower is better: at 80 and below there are faces, real ones against real ones have about 7.'],
  eta: ['to go', 'How long the remaining iterations take if the class goes on as in the last ten.'],
  units: ['a unit', 'A unit is a packet of images that one worker computes. A tile fills while it is computed and turns green when it is done; when enough are done, the next iteration begins.'],
  losses: ['the losses', 'How wrong each network is. Neither line has to fall: the networks learn against each other. Good is when both keep moving and none runs away.'],
  right: ['this curve', 'The share of images that D judges rightly. 50 % is guessing; at 100 % for long, the generator learns little.'],
  class: ['this table', 'Images: real images whose results were averaged into the model. Share: of all those. Units: packets of images. Cores: of the computers that are there now.'],
};

let made = 0;

// Makes the button and the text that it opens. Where each of them goes is the caller's affair.
export function helpOn(key) {
  const [name, text] = texts[key];
  const button = make('button', 'help', '?');
  const answer = make('p', 'answer', text);
  button.type = 'button';
  button.setAttribute('aria-label', `What is ${name}?`);
  button.setAttribute('aria-expanded', 'false');
  answer.id = `help-${made++}`;
  answer.hidden = true;
  button.setAttribute('aria-controls', answer.id);
  button.addEventListener('click', () => {
    answer.hidden = !answer.hidden;
    button.setAttribute('aria-expanded', String(!answer.hidden));
  });
  button.addEventListener('keydown', (event) => {
    if (event.key === 'Escape' && !answer.hidden) button.click();
  });
  return { button, answer };
}

// Gives each heading that names a text (data-help) its button, and the text below it.
export function dressHeadings() {
  for (const heading of document.querySelectorAll('[data-help]')) {
    const { button, answer } = helpOn(heading.dataset.help);
    const line = make('div', 'heading');
    heading.replaceWith(line);
    line.append(heading, button);
    line.after(answer);
  }
}
