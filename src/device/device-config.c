/* SPDX-License-Identifier: MIT */
/* Another configuration for a device whose own settings stay: nothing of the old one is kept. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "device/provision.h"

/* Where an item of @old is in @material; its n_items: nowhere. */
static size_t item_in(const struct material *material, const struct material *old, size_t item)
{
	size_t i = 0;

	if (item >= old->n_items)
		return material->n_items;
	while (i < material->n_items &&
	       !material_item_is_same(&material->items[i], &old->items[item]))
		i++;
	return i;
}

/* What is on its way goes on; what it was for is found out again behind it. */
static void provision_remap(struct device *dev, const struct material *material)
{
	struct provision *p = dev->provision;

	if (!p)
		return;
	for (size_t i = 0; i < p->n_wants; i++)
		p->wants[i].item = item_in(material, dev->material, p->wants[i].item);
	p->again = true;
}

int device_reconfigure(struct device *dev, const struct config *config,
		       const struct config_device *settings, const struct material *material)
{
	struct holding *holdings = calloc(material->n_items + 1, sizeof(*holdings));

	if (!holdings)
		return -ENOMEM;
	for (size_t i = 0; i <= material->n_items; i++)
		holdings[i].slot = -1;
	for (size_t i = 0; i < dev->material->n_items; i++) {
		size_t k = item_in(material, dev->material, i);

		if (k < material->n_items)
			holdings[k] = dev->holdings[i];
	}
	provision_remap(dev, material);
	free(dev->holdings);
	dev->holdings = holdings;
	dev->config = config;
	dev->settings = settings;
	dev->material = material;
	dev->chan.name = settings->name;
	return 0;
}
